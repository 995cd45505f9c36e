"""Sessions of one of a bundle's graphs: of the whole, or of what an output needs of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from export.bundle import Bundle
from export.bundle.graphs import segmentor_file
from roadshift import Failure
from serve.runtime.binding import Binding
from serve.runtime.kept_file import KeptFile
from serve.runtime.onnx_runtime import Runtime
from serve.runtime.rewrites.host_preprocessing import planes_of, without_front
from serve.runtime.rewrites.int8_on_cpu import for_cpu
from serve.runtime.rewrites.prune import pruned
from serve.runtime.working_memory import WorkingMemory

log = logging.getLogger(__name__)
ALONE = ("labels", "logits")
"""Outputs that are worth a session of their own when nothing else is asked for."""
SessionRun = Callable[[NDArray[np.uint8], Sequence[str]], list[NDArray[Any]]]


class Sessions:
    """Runs a graph; each session is loaded when it is first needed.

    Raises Failure when a graph does not load, or the provider does not start.
    """

    def __init__(self, bundle: Bundle, file: str, runtime: Runtime) -> None:
        """`file` is the graph's name in the bundle."""
        self.runtime = runtime
        self.what = f"{file} of bundle {bundle.folder}"
        # Sessions are made when they are first needed, perhaps long after the bundle was checked.
        self._file = KeptFile(bundle.path(file), bundle.files[file])
        self._fixed = bundle.size is not None
        self._for_cpu = runtime.provider == "cpu" and file == segmentor_file("int8")
        self._work_size = bundle.work_size if self.runtime.provider == "cpu" else None
        self.prepares = False
        """Whether the host resizes the frame for the graph of the logits."""
        self._lock = threading.Lock()
        self._usual = bundle.largest_known
        self._large: dict[tuple[str, ...], Any] = {}
        self._runners: dict[tuple[tuple[str, ...], bool], SessionRun] = {}

    def read(self) -> onnx.ModelProto:
        """The graph as the bundle has it; Failure for a file that was changed since."""
        content = self._file.read()
        try:
            return onnx.load_from_string(content)
        except Exception as error:  # protobuf's errors and onnx's own
            raise Failure(
                f"could not load {self.what} on {self.runtime.provider}: it is no ONNX graph "
                f"({error}); export the run again"
            ) from error

    def graph(self, wanted: Sequence[str]) -> onnx.ModelProto:
        """What is loaded for these outputs: only their nodes, and INT8 as the device likes it.

        Where it can, a graph for logits alone on the CPU begins with the planes that `feed` gives.
        """
        model, alone = self.read(), _alone(wanted)
        if alone:
            model = pruned(model, alone)
        if alone == ("logits",) and self._work_size:
            rest = without_front(model, self._work_size)
            self.prepares, model = rest is not None, rest or model
        return for_cpu(model) if self._for_cpu else model

    def feed(self, values: NDArray[np.uint8], session: Any) -> dict[str, NDArray[Any]]:
        """What a session is given for an input [n,...]: that, or the planes made of it here."""
        given = session.get_inputs()[0]
        if given.type == "tensor(uint8)":
            return {given.name: values}
        planes = self.prepared(values)
        return {given.name: planes.astype(np.float16, copy=False) if "16" in given.type else planes}

    def prepared(self, values: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The resized planes of images [n,h,w,3], where the host `prepares` them."""
        assert self._work_size is not None
        return planes_of(values, self._work_size)

    def open(self, wanted: Sequence[str]) -> None:
        """Loads what these outputs need, for one input at a time."""
        self._runner(wanted, 1)

    def run(self, values: NDArray[np.uint8], wanted: Sequence[str]) -> list[NDArray[Any]]:
        """These outputs for an input [n,...]; raises whatever ONNX Runtime does."""
        return self._runner(wanted, len(values))(values, wanted)

    def _runner(self, wanted: Sequence[str], n: int) -> SessionRun:
        # A CUDA graph is of one shape, and TensorRT's provider replays it for any: so there is one
        # for single frames of a fixed size, and a session beside it for batches.
        capture = self.runtime.provider != "cpu" and self._fixed and n == 1
        key = _alone(wanted), capture
        with self._lock:
            if key not in self._runners:
                self._runners[key] = self._loaded(wanted, capture)
            return self._runners[key]

    def _loaded(self, wanted: Sequence[str], capture: bool) -> SessionRun:
        model = self.graph(wanted)
        if self.runtime.provider == "cpu":
            return self._plain(self.runtime.session(model.SerializeToString(), self.what))
        if not (capture and _single(model)):
            return self._bound(self.runtime.session(model.SerializeToString(), self.what))
        graph = model.SerializeToString()
        try:
            return self._bound(self.runtime.session(graph, self.what, capture=True))
        except Failure as failure:
            session = self.runtime.session(graph, self.what)
            log.warning("runs without a CUDA graph, which this device refused: %s", failure)
            return self._bound(session)

    @property
    def work_pixels(self) -> int:
        """The pixels of a frame as the network sees it, where that is always as many; else 0."""
        return self._work_size[0] * self._work_size[1] if self._work_size else 0

    def _plain(self, session: Any) -> SessionRun:
        memory = WorkingMemory(self.runtime.ort, self._usual)

        def run(values: NDArray[np.uint8], wanted: Sequence[str]) -> list[NDArray[Any]]:
            feed = self.feed(values, session)
            (given,) = feed.values()
            if not memory.is_usual(given.shape):
                return self._without_arena(wanted).run(list(wanted), feed)
            return session.run(list(wanted), feed, memory.options(given.shape))

        return run

    def _without_arena(self, wanted: Sequence[str]) -> Any:
        """A session that gives all memory back at once: for what is larger than usual."""
        with self._lock:
            key = _alone(wanted)
            if key not in self._large:
                graph = self.graph(wanted).SerializeToString()
                self._large[key] = self.runtime.session(graph, self.what, arena=False)
            return self._large[key]

    def _bound(self, session: Any) -> SessionRun:
        return Binding(self.runtime.ort, session)


def _alone(wanted: Sequence[str]) -> tuple[str, ...]:
    """The one output that a session is made for; none for the whole graph."""
    return tuple(wanted) if len(wanted) == 1 and wanted[0] in ALONE else ()


def _single(model: onnx.ModelProto) -> bool:
    """Makes the model one for single frames; whether it has no open size then."""
    values = (*model.graph.input, *model.graph.output)
    shapes = [value.type.tensor_type.shape.dim for value in values]
    for shape in shapes:
        shape[0].dim_value = 1
    return all(axis.HasField("dim_value") for shape in shapes for axis in shape)
