"""The half of the TensorRT double that runs plans, with ONNX Runtime; see tensorrt_double."""

from __future__ import annotations

import ctypes
import json
from typing import Any

import numpy as np
import onnx
import onnxruntime
from tensorrt_offered import Offered

KINDS = {onnx.TensorProto.UINT8: "UINT8", onnx.TensorProto.FLOAT: "FLOAT"}


class Runtime(Offered):
    _class = "Runtime"

    def __init__(self, trt: Any, logger) -> None:
        super().__init__(trt)
        self._logger = logger
        if fault := trt._faults.get("runtime"):
            trt._log(logger, fault)
            raise TypeError("pybind11::init(): factory function returned nullptr")
        object.__setattr__(self, "engine_host_code_allowed", False)

    def deserialize_cuda_engine(self, serialized_engine):
        about, _, model = serialized_engine.partition(b"\0")
        about = json.loads(about)
        if about["host_code"] and not self.engine_host_code_allowed:
            self._trt._log(self._logger, "host code is not allowed", "INTERNAL_ERROR")
            return None
        if fault := self._trt._faults.get("engine"):
            self._trt._log(self._logger, fault)
            return None
        return Engine(self._trt, about["profile"], model, self._logger)


class Engine(Offered):
    _class = "ICudaEngine"

    def __init__(self, trt: Any, profile: list, model: bytes, logger: Any) -> None:
        super().__init__(trt)
        self._profile, self._logger = profile, logger
        graph = onnx.load_from_string(model).graph
        # Outputs first: the order is TensorRT's, and no code may rely on one.
        values = [*graph.output, *graph.input]
        self._tensors = {v.name: v.type.tensor_type.elem_type for v in values}
        self._given = graph.input[0].name
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        providers = ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(model, options, providers=providers)

    @property
    def num_io_tensors(self):
        return len(self._tensors)

    def get_tensor_name(self, index):
        return list(self._tensors)[index]

    def get_tensor_mode(self, name):
        mode = self._trt.TensorIOMode
        return mode.INPUT if name == self._given else mode.OUTPUT

    def get_tensor_dtype(self, name):
        return self._trt.DataType[self._trt._faults.get("dtype", KINDS[self._tensors[name]])]

    def get_tensor_profile_shape(self, name, profile_index):
        assert (name, profile_index) == (self._given, 0)
        return self._profile

    def create_execution_context(self, strategy=None):
        assert strategy is None
        if fault := self._trt._faults.get("context"):
            self._trt._log(self._logger, fault)
            return None
        return Context(self._trt, self)


class Context(Offered):
    _class = "IExecutionContext"

    def __init__(self, trt: Any, engine: Engine) -> None:
        super().__init__(trt)
        self._engine, self._addresses, self._shapes = engine, {}, {}

    def set_input_shape(self, name, shape):
        low, _, high = self._engine._profile
        fits = all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True))
        if fits:
            zeros = self._engine._session.run(None, {name: np.zeros(shape, np.uint8)})[0]
            output = next(other for other in self._engine._tensors if other != name)
            self._shapes = {name: tuple(shape), output: zeros.shape}
        return fits

    def infer_shapes(self):
        return ["n"] if "shape" in self._trt._faults else []

    def get_tensor_shape(self, name):
        return self._shapes[name]

    def set_tensor_address(self, name, memory):
        self._addresses[name] = memory
        return memory in self._trt._cuda._memory

    def execute_async_v3(self, stream_handle):
        self._did("execute_async_v3")
        stream = self._trt._cuda._streams[stream_handle]
        fault = self._trt._faults.get("execute")
        if fault or (stream.recording is not None and "capture" in self._trt._faults):
            self._trt._log(self._engine._logger, fault or "not while recording")
            return False
        self._trt._cuda._do(stream, self._execute)
        return True

    def _execute(self) -> None:
        given = self._engine._given
        shape = self._shapes[given]
        size = int(np.prod(shape))
        held = (ctypes.c_uint8 * size).from_address(self._addresses[given])
        values = np.frombuffer(held, np.uint8).reshape(shape)
        answer = self._engine._session.run(None, {given: values})[0]
        output = next(name for name in self._shapes if name != given)
        assert answer.nbytes <= self._trt._cuda._size(self._addresses[output])
        ctypes.memmove(
            self._addresses[output], np.ascontiguousarray(answer).ctypes.data, answer.nbytes
        )
