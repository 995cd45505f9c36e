"""FP16 that is typed so: float16 tensors and weights in the graph itself, float32 where it matters.

ONNX Runtime's converter is not used: it puts a cast to float16 and back between every two nodes
that stay float32, which rounds their values all the same, and gives two casts one name where two
such nodes read one tensor. Here a tensor is cast at most once, where the type changes.

On a CPU such a graph is slow, and no proof of its accuracy elsewhere: ONNX Runtime computes it with
float32 kernels between casts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from export.precision.calibration.ranges import Ranges
from export.precision.fp16_nodes import half_nodes
from export.precision.graph_index import Flow, prepared, replace_nodes
from export.precision.int8 import kept_nodes

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
UNTYPED = frozenset({"Shape", "Size"})
"""They read any type and look at no value."""


def to_fp16(
    model: onnx.ModelProto, ranges: Ranges | None, keep: Collection[str] = frozenset()
) -> onnx.ModelProto:
    """The float32 graph with float16 in place of float32 wherever that is safe (see `half_sites`).

    `ranges` are those of this graph; without them nothing is known of how large the activations
    become. `keep` names layer groups (see `groups`) that stay float32. Inputs, outputs with their
    types, and properties stay as they are. Raises UserError for an unknown group, Failure where
    nothing of the graph can be float16.
    """
    model = prepared(model)
    _unfold_batch_norms(model)
    flow = Flow(model)
    writer = _Writer(flow, half_nodes(flow, ranges, kept_nodes(flow, keep)))
    nodes = list(writer.nodes())
    model.graph.initializer.extend(writer.constants)
    replace_nodes(model.graph, nodes)
    onnx.checker.check_model(model, full_check=True)
    return model


class _Writer:
    """Retypes the nodes named in `half` and puts casts where the type of a tensor changes."""

    def __init__(self, flow: Flow, half: Collection[str]) -> None:
        self.constants: list[TensorProto] = []
        self._flow, self._half = flow, half
        self._made: set[str] = set()  # other types of tensors that exist already
        self._outputs = {
            name
            for name in flow.outputs
            if flow.is_float(name) and name in flow.producer and flow.producer[name].name in half
        }

    def nodes(self) -> Iterator[NodeProto]:
        """The nodes in an order that ONNX allows."""
        for old in self._flow.nodes:
            node = NodeProto.FromString(old.SerializeToString())
            half = node.name in self._half
            for i, name in enumerate(node.input):
                if name and self._flow.is_float(name):
                    wanted = self._wanted(node, i)
                    yield from self._cast(name, wanted)
                    node.input[i] = self._named(name, wanted)
            if half:
                self._retype(node)
            yield node
            for name in self._outputs.intersection(old.output):
                yield from self._cast(name, FLOAT)

    def _wanted(self, node: NodeProto, i: int) -> int:
        """The type in which a node reads its i-th input."""
        if node.op_type in UNTYPED:
            return HALF if self._is_half(node.input[i]) else FLOAT
        # The scales of a Resize are float32 whatever it resizes.
        scales = node.op_type == "Resize" and i == 2
        return HALF if node.name in self._half and not scales else FLOAT

    def _is_half(self, name: str) -> bool:
        return name in self._flow.producer and self._flow.producer[name].name in self._half

    def _named(self, name: str, wanted: int) -> str:
        """What the tensor is called in the wanted type; an output keeps its name in its type."""
        if self._is_half(name):
            if wanted == FLOAT:
                return name if name in self._outputs else f"{name} float32"
            return f"{name} float16" if name in self._outputs else name
        return f"{name} float16" if wanted == HALF else name

    def _cast(self, name: str, wanted: int) -> Iterator[NodeProto]:
        """The cast, or the constant, that makes the tensor be there in the wanted type."""
        made, is_half = self._named(name, wanted), self._is_half(name)
        if is_half == (wanted == HALF) or made in self._made:
            return
        self._made.add(made)
        if name in self._flow.constants:
            values = numpy_helper.to_array(self._flow.constants[name])
            self.constants.append(numpy_helper.from_array(values.astype(np.float16), made))
        else:
            given = self._named(name, HALF if is_half else FLOAT)
            yield helper.make_node("Cast", [given], [made], f"cast to {made}", to=wanted)

    def _retype(self, node: NodeProto) -> None:
        for i, name in enumerate(node.output):
            if self._flow.is_float(name):
                node.output[i] = self._named(name, HALF)
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == FLOAT:
                attribute.i = HALF


def _unfold_batch_norms(model: onnx.ModelProto) -> None:
    """A product and a sum in place of each BatchNormalization with constant statistics.

    Variances and the number that keeps them from 0 are often too small for float16; what they come
    to is computed here in float64.
    """
    flow = Flow(model)
    nodes = list[NodeProto]()
    for node in flow.nodes:
        rank = flow.rank(node.input[0]) if node.op_type == "BatchNormalization" else None
        if rank is None or any(name not in flow.constants for name in node.input[1:]):
            nodes.append(node)
            continue
        values = [numpy_helper.to_array(flow.constants[name]) for name in node.input[1:]]
        gamma, beta, mean, var = (value.astype(np.float64) for value in values)
        epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
        scale = gamma / np.sqrt(var + epsilon)
        between, given = f"{node.output[0]} scaled", node.input[0]
        factor, shift = (f"{node.input[1]} {what}" for what in ("factor", "shift"))
        for name, value in ((factor, scale), (shift, beta - mean * scale)):
            model.graph.initializer.append(_by_channel(name, value, rank))
        nodes.append(helper.make_node("Mul", [given, factor], [between], f"{node.name} scale"))
        nodes.append(helper.make_node("Add", [between, shift], [node.output[0]], node.name))
    replace_nodes(model.graph, nodes)


def _by_channel(name: str, value: NDArray[np.float64], rank: int) -> TensorProto:
    shaped = value.astype(np.float32).reshape(-1, *[1] * (rank - 2))
    return numpy_helper.from_array(shaped, name)
