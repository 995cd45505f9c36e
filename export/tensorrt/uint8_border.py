"""uint8 at the graph's border only, which is where TensorRT takes it.

Its parser refuses a graph in which anything but an output of the whole graph is uint8, a transposed
camera frame for one (onnx/onnx-tensorrt, ModelImporter.cpp, from the oldest version with uint8 to
the newest), and its data type's description promises casts between uint8 and floats alone. So
frames become float32 where they come in, answers are whole float32 numbers until they go out, and
nothing changes its value: float32 holds 0..255 exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from roadshift import Failure

MOVING = frozenset(
    "Concat Expand Flatten Gather GatherElements GatherND Identity Pad Reshape Slice Split Squeeze "
    "Tile Transpose Unsqueeze Where".split()
)
"""Operators that put values elsewhere and leave them as they are."""
QUANTISING = frozenset({"QuantizeLinear", "DequantizeLinear"})
WHOLE = frozenset({"Round", "Floor", "Ceil"})


def at_border(content: bytes, shape: Sequence[int]) -> bytes:
    """The ONNX model with uint8 at its inputs and outputs only, of the same values.

    `shape` is that of its input, -1 for an axis that stays free: what TensorRT knows before it
    parses it need not be computed for every frame. Raises Failure naming the node for a graph that
    calculates in uint8.
    """
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(content))
    _Rewriting(model).run()
    del model.graph.value_info[:]  # they have the types of before
    axes = model.graph.input[0].type.tensor_type.shape.dim
    for axis, length in zip(axes, shape, strict=True):
        if length >= 0:
            axis.dim_value = length
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # the checker's errors have no base class of their own
        raise Failure(f"the graph cannot be made ready for TensorRT: {error}") from error
    return model.SerializeToString()


class _Rewriting:
    """One graph, changed in place; `_float` maps a uint8 tensor's name to its float32 twin's."""

    def __init__(self, model: ModelProto) -> None:
        self._graph: GraphProto = model.graph
        values = (*self._graph.input, *self._graph.output, *self._graph.value_info)
        self._bytes = {v.name for v in values if v.type.tensor_type.elem_type == TensorProto.UINT8}
        self._outputs = {v.name for v in self._graph.output}
        self._weights = {t.name: t for t in self._graph.initializer}
        self._makers: dict[str, str] = {}
        self._float: dict[str, str] = {}
        self._nodes: list[NodeProto] = []

    def run(self) -> None:
        """Rewrites the nodes in order; Failure for one that calculates in uint8."""
        for value in self._graph.input:
            if value.name in self._bytes:
                self._cast(value.name, self._twin(value.name), TensorProto.FLOAT)
        for node in list(self._graph.node):
            self._rewrite(node)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)

    def _rewrite(self, node: NodeProto) -> None:
        for i, name in enumerate(node.input):
            if node.op_type not in QUANTISING:
                node.input[i] = self._as_float(name)
        made = [name for name in node.output if name in self._bytes]
        if made and node.op_type == "Cast":
            self._to_whole(node)
        elif made and node.op_type not in MOVING:
            raise Failure(
                f"the operator {node.op_type} (node {node.name or node.output[0]!r}) calculates in "
                "uint8, which TensorRT takes at a graph's inputs and outputs only: export the run "
                "again with this roadshift"
            )
        self._makers |= dict.fromkeys(node.output, node.op_type)
        for i, name in enumerate(node.output):
            if name in made:
                node.output[i] = self._twin(name)
        self._nodes.append(node)
        for name in made:
            if name in self._outputs:
                self._cast(self._float[name], name, TensorProto.UINT8)

    def _to_whole(self, node: NodeProto) -> None:
        """A cast to uint8 becomes one to float32 of the same values: a cast drops fractions."""
        if self._makers.get(node.input[0]) not in {*WHOLE, "ArgMax"}:
            floor = f"{node.output[0]}__whole"
            self._cast(node.input[0], f"{floor}__float", TensorProto.FLOAT)
            self._nodes.append(helper.make_node("Floor", [f"{floor}__float"], [floor], name=floor))
            node.input[0] = floor
        next(a for a in node.attribute if a.name == "to").i = TensorProto.FLOAT

    def _as_float(self, name: str) -> str:
        """The float32 twin of a uint8 tensor, of a weight too; other names as they are."""
        weight = self._weights.get(name)
        if name not in self._float and weight and weight.data_type == TensorProto.UINT8:
            values = numpy_helper.to_array(weight).astype("float32")
            self._graph.initializer.append(numpy_helper.from_array(values, self._twin(name)))
        return self._float.get(name, name)

    def _twin(self, name: str) -> str:
        return self._float.setdefault(name, f"{name}__float")

    def _cast(self, source: str, result: str, kind: int) -> None:
        self._nodes.append(helper.make_node("Cast", [source], [result], to=kind, name=result))
