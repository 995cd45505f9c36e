"""A plan in TensorRT's hands: its memory on both sides, and one call of it.

Not run on a GPU by us: the calls are held against the bindings of TensorRT 10.3 to 11.4 and of CUDA
12 and 13, and against a double that keeps the device's memory in the host's.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadshift import Failure
from serve.runtime.tensorrt.bindings import logger, reason, started
from serve.runtime.tensorrt.cuda import Cuda

Shape = tuple[int, ...]


class TensorBuffer(NamedTuple):
    """One of the plan's tensors: pinned bytes on the host, and its address on the device."""

    name: str
    dtype: np.dtype[Any]
    host: NDArray[np.uint8]
    device: int


class Execution:
    """One plan with one uint8 input and one output; for one thread at a time.

    `captured` tells whether calls replay a CUDA graph, which `capture` asks for: one launch in
    place of one a layer. Some plans cannot be recorded; they run without. `trusted` lets the plan
    run its own code on the host, which version compatible plans need. Raises Failure with
    TensorRT's or CUDA's reason.
    """

    def __init__(self, trt: Any, plan: bytes, *, trusted: bool, capture: bool) -> None:
        self.captured = False
        self._capture, self._cuda, self._log = capture, Cuda(), logger(trt)
        self._shape: Shape = ()
        self._graph: Any = None
        # The engine needs the runtime for as long as it lives.
        self._runtime = started(trt, trt.Runtime, self._log)
        if trusted:
            self._runtime.engine_host_code_allowed = True
        self._engine = self._made(self._runtime.deserialize_cuda_engine(plan), "load the plan")
        self._context = self._made(self._engine.create_execution_context(), "set the plan up")
        with ExitStack() as stack:
            self._stream = self._cuda.stream()
            stack.callback(self._cuda.end, self._stream)
            self._given, self._answer = self._tensors(trt, stack)
            self._stack = stack.pop_all()

    def __call__(self, values: NDArray[np.uint8]) -> NDArray[Any]:
        """The output, uint8 or float32, for an input of a shape that the plan was built for."""
        cuda, stream = self._cuda, self._stream
        if values.shape != self._shape:
            self._prepare(values.shape)
        shape = tuple(self._context.get_tensor_shape(self._answer.name))
        answer = self._answer.host[: math.prod(shape) * self._answer.dtype.itemsize]
        given = self._given.host[: values.size]
        np.copyto(given.reshape(values.shape), values, casting="no")
        cuda.upload(self._given.device, given, stream)
        if self._graph is None:
            self._start()
        else:
            cuda.launch(self._graph, stream)
        cuda.download(answer, self._answer.device, stream)
        cuda.wait(stream)
        return answer.view(self._answer.dtype).reshape(shape).copy()

    def close(self) -> None:
        """Gives all memory back; the plan cannot run any more."""
        self._forget_graph()
        del self._context, self._engine, self._runtime
        self._stack.close()

    def _tensors(self, trt: Any, stack: ExitStack) -> tuple[TensorBuffer, TensorBuffer]:
        """Input and output, with memory for the most images; freed by the stack."""
        engine = self._engine
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        names.sort(key=lambda name: engine.get_tensor_mode(name) == trt.TensorIOMode.OUTPUT)
        kinds = {trt.DataType.UINT8: np.uint8, trt.DataType.FLOAT: np.float32}
        found = [engine.get_tensor_dtype(name) for name in names]
        if len(names) != 2 or found[0] != trt.DataType.UINT8 or found[1] not in kinds:
            raise Failure(
                f"the plan has the tensors {', '.join(map('{} {}'.format, names, found))}; wanted "
                "one of uint8 in, and one of uint8 or float32 out: build it with roadshift engine"
            )
        self._set_shape(names[0], tuple(engine.get_tensor_profile_shape(names[0], 0)[2]))
        given, answer = (
            self._placed(name, np.dtype(kinds[kind]), stack)
            for name, kind in zip(names, found, strict=True)
        )
        return given, answer

    def _placed(self, name: str, dtype: np.dtype[Any], stack: ExitStack) -> TensorBuffer:
        count = math.prod(self._context.get_tensor_shape(name)) * dtype.itemsize
        device = self._cuda.memory(count)
        stack.callback(self._cuda.free, device)
        host = self._cuda.pinned(count)
        stack.callback(self._cuda.unpin, host)
        self._good(self._context.set_tensor_address(name, device), f"place {name!r}")
        return TensorBuffer(name, dtype, host, device)

    def _prepare(self, shape: Shape) -> None:
        """Everything that depends on the input's shape alone, the CUDA graph last."""
        self._forget_graph()
        self._shape = ()
        self._set_shape(self._given.name, shape)
        missing = self._context.infer_shapes()
        self._good(not missing, f"tell the shape of {', '.join(missing)}")
        if self._capture:
            # What TensorRT puts off until the first run must not be recorded.
            self._start()
            self._cuda.wait(self._stream)
            self._cuda.begin_capture(self._stream)
            started = self._context.execute_async_v3(int(self._stream))
            self._graph = self._cuda.end_capture(self._stream)
            if not started:
                self._forget_graph()
                self._log.errors.clear()  # it runs without; nothing failed
        self.captured = self._graph is not None
        self._shape = shape

    def _forget_graph(self) -> None:
        graph, self._graph = self._graph, None
        if graph is not None:
            self._cuda.drop(graph)

    def _set_shape(self, name: str, shape: Shape) -> None:
        self._good(self._context.set_input_shape(name, shape), f"take {name!r} of {list(shape)}")

    def _start(self) -> None:
        self._good(self._context.execute_async_v3(int(self._stream)), "run")

    def _made(self, thing: Any, what: str) -> Any:
        self._good(thing is not None, what)
        return thing

    def _good(self, done: bool, what: str) -> None:
        if not done:
            raise Failure(
                f"TensorRT could not {what}: {reason(self._log)}; build the plan again on this "
                "device, or free memory on the GPU"
            )
