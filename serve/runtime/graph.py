"""Arrays in, arrays out: one graph of a bundle on ONNX Runtime, on exactly the asked device."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from export.bundle import Bundle, GraphSpec
from roadshift import Failure, UserError, hxw
from serve.runtime.graph_content import check_content
from serve.runtime.onnx_runtime import Runtime
from serve.runtime.sessions import Sessions
from serve.runtime.working_memory import AT_ONCE

DATATYPES: dict[int, str] = {onnx.TensorProto.UINT8: "UINT8", onnx.TensorProto.FLOAT: "FP32"}


class TensorSpec(NamedTuple):
    """A tensor of the graph; -1 in the shape is a size that varies."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class Graph(ABC):
    """One graph on one device; every method may be called from several threads at once.

    `provider` is "cpu", "cuda" or "tensorrt"; there is no falling back to another one. `threads`
    is the number of CPU threads one call uses (0: one a core). Raises Failure when the provider is
    not there or does not start, or the graph is another one than it should be.
    """

    spec: GraphSpec
    """Its row in the table of graphs."""
    file: str
    """The bundle's file."""
    precision: str = "fp32"
    """What the file computes in."""
    golden_text: str
    """A sentence around what `check_golden` returns, for people."""

    def __init__(self, bundle: Bundle, *, provider: str = "cpu", threads: int = 0) -> None:
        self.bundle, self.provider, self.threads = bundle, provider, threads
        self.takes = self.spec.takes
        self.sessions = Sessions(bundle, self.file, Runtime(provider, threads))
        model = self.sessions.read()
        check_content(model, self.sessions.what)
        self._check_names(model)
        graph = model.graph
        self.inputs = tuple(map(_spec, graph.input))
        self.outputs = tuple(map(_spec, graph.output))
        given, answers = (
            {(spec.name, spec.datatype) for spec in specs} for specs in (self.inputs, self.outputs)
        )
        taken, wanted = {(self.spec.input, "UINT8")}, {*self.spec.outputs.items()}
        if given != taken or not answers >= wanted:
            raise Failure(
                f"{self.file} of bundle {bundle.folder} makes {_listing(answers)} of "
                f"{_listing(given)}; wanted {_listing(wanted)} of {_listing(taken)}: "
                "export the run again"
            )
        if len(self.inputs[0].shape) < 3 or not all(spec.shape for spec in self.outputs):
            raise Failure(
                f"{self.file} of bundle {bundle.folder} does not say the shapes of its input and "
                "outputs: export the run again"
            )
        sizes = self.inputs[0].shape[1:3]
        if sizes not in ((-1, -1), bundle.size):
            raise Failure(
                f"{self.file} of bundle {bundle.folder} takes {self.takes} of {hxw(sizes)}, and "
                f"its manifest says {hxw(bundle.size) if bundle.size else 'any size'}: export the "
                "run again"
            )
        # A device that does not start should say so now, not at the first frame.
        self.sessions.open(self.first)

    def _check_names(self, model: onnx.ModelProto) -> None:
        """Failure where the file was exported with other classes or colours than the manifest's."""
        told = {each.key: each.value for each in model.metadata_props}
        for key in ("classes", "palette"):
            mine = json.dumps(getattr(self.bundle, key))
            if key in told and not _equal(told[key], mine):
                raise Failure(
                    f"{self.file} of bundle {self.bundle.folder} was exported with other {key}, "
                    f"{told[key][:80]}, than its manifest has, {mine[:80]}: export the run again"
                )

    @property
    @abstractmethod
    def first(self) -> tuple[str, ...]:
        """The outputs of the graph that are asked for most: they are made ready at once."""

    @property
    def name(self) -> str:
        """What a server calls it."""
        return self.spec.served_name(self.bundle.name)

    @abstractmethod
    def check_golden(self) -> float:
        """How well the worst of the bundle's golden frames comes out; Failure for not enough."""

    def check(self, shape: Sequence[int]) -> None:
        """Raises UserError unless an input of this shape ([n,h,w,*channels]) fits the bundle."""
        if len(shape) < 3 or tuple(shape[3:]) != self.spec.channels or min(shape) < 1:
            axes = ",".join(["n", "h", "w", *map(str, self.spec.channels)])
            what = f"RGB {self.takes}" if self.spec.channels else self.takes
            raise UserError(f"wanted {what} of shape [{axes}], got {list(shape)}")
        size, least = (shape[1], shape[2]), self.bundle.min_size
        if self.bundle.size is not None and size != self.bundle.size:
            raise UserError(
                f"this bundle takes {self.takes} of {hxw(self.bundle.size)} (height x width) "
                f"only, got {hxw(size)}: resize them, or export the run again with --size "
                f"{hxw(size)}"
            )
        if size[0] < least[0] or size[1] < least[1]:
            raise UserError(
                f"this bundle takes {self.takes} from {hxw(least)} (height x width) on, got "
                f"{hxw(size)}: enlarge them"
            )
        if 0 < self.inputs[0].shape[0] != shape[0]:
            raise UserError(
                f"this bundle takes {self.inputs[0].shape[0]} image(s) at a time, got {shape[0]}"
            )

    def in_batches(
        self, given: Sequence[NDArray[np.uint8]], count: int, wanted: Sequence[str]
    ) -> list[dict[str, NDArray[Any]]]:
        """The named outputs for each [h,w,*channels]; `count` of one size that follow each other
        are run in one call, where the graph takes several. Raises like `run`."""
        found: list[dict[str, NDArray[Any]]] = []
        while len(found) < len(given):
            batch = given[len(found) : len(found) + count]
            if self.inputs[0].shape[0] == 1 or len({one.shape for one in batch}) > 1:
                batch = batch[:1]
            together = np.stack(batch)
            self.check(together.shape)
            answers = self.at_once(together, wanted)
            found += [{name: answers[name][i] for name in wanted} for i in range(len(batch))]
        return found

    def pixels(self, shape: Sequence[int]) -> int:
        """The pixels of an input of this shape ([n,h,w,*channels]) as the memory sees them: a small
        frame is enlarged to the size that the network works at."""
        return shape[0] * max(shape[1] * shape[2], self.sessions.work_pixels)

    def run(self, values: NDArray[np.uint8], wanted: Sequence[str]) -> dict[str, NDArray[Any]]:
        """The named outputs for an input uint8 [n,h,w,*channels]; others need not be computed.

        On the CPU, where a batch is no faster than its frames one by one, no more of them run at
        once than AT_ONCE pixels. Raises UserError for an input that does not fit, Failure when the
        device gives up.
        """
        self.check(values.shape)
        n = len(values)
        if self.provider == "cpu" and self.inputs[0].shape[0] < 0:
            n = max(1, AT_ONCE // self.pixels((1, *values.shape[1:])))
        parts = [self.at_once(values[i : i + n], wanted) for i in range(0, len(values), n)]
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in wanted}

    def at_once(self, values: NDArray[np.uint8], wanted: Sequence[str]) -> dict[str, NDArray[Any]]:
        """The same, all in one run however large it is, of an input that fits."""
        try:
            return self.answers(values, wanted)
        except Failure:
            raise
        except Exception as error:  # ONNX Runtime's errors have no base class of their own
            raise Failure(
                f"the engine failed on {self.takes} of shape {list(values.shape)}: {error}"
            ) from error

    def answers(self, values: NDArray[np.uint8], wanted: Sequence[str]) -> dict[str, NDArray[Any]]:
        """The named outputs as they come about in this graph; raises whatever ONNX Runtime does."""
        return dict(zip(wanted, self.sessions.run(values, wanted), strict=True))


def _equal(told: str, mine: str) -> bool:
    """Whether both are the same JSON."""
    try:
        return json.loads(told) == json.loads(mine)
    except (ValueError, RecursionError):
        return False


def _listing(tensors: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {datatype}" for name, datatype in sorted(tensors))


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    datatype = DATATYPES.get(tensor.elem_type) or onnx.TensorProto.DataType.Name(tensor.elem_type)
    shape = (axis.dim_value if axis.HasField("dim_value") else -1 for axis in tensor.shape.dim)
    return TensorSpec(value.name, datatype, tuple(shape))
