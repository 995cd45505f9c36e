"""Who makes and who reads which tensor of an ONNX graph, and where its computing ends."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

import onnx
from onnx import NodeProto, TensorProto, helper

from roadshift import Failure

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""What does nearly all the arithmetic. A MatMul counts where one side is a constant."""


class Flow:
    """An index of a graph that `prepared` has made; valid as long as its nodes do not change."""

    def __init__(self, model: onnx.ModelProto) -> None:
        """Infers the element type and the rank of every tensor."""
        self.nodes: tuple[NodeProto, ...] = tuple(model.graph.node)
        self.constants = {t.name: t for t in model.graph.initializer}
        self.inputs = [v.name for v in model.graph.input]
        self.outputs = {v.name for v in model.graph.output}
        self.producer = {name: node for node in self.nodes for name in node.output if name}
        self.readers: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.input):
                self.readers.setdefault(name, []).append(node)
        inferred = onnx.shape_inference.infer_shapes(without_weights(model)).graph
        self._types = {
            v.name: v.type.tensor_type
            for v in (*inferred.value_info, *inferred.input, *inferred.output)
        }
        weighted = {node.name for node in self.nodes if self.is_weighted(node)}
        before = self._before(weighted)
        self.tail = frozenset(node.name for node in self.nodes if node.name not in before)
        """Names of the nodes behind which nothing weighted comes: the last layers themselves, and
        what makes labels or a picture of them."""

    def is_weighted(self, node: NodeProto) -> bool:
        """Whether it multiplies an activation by constant float32 weights."""
        return (
            node.op_type in WEIGHTED
            and node.input[1] in self.constants
            and self.constants[node.input[1]].data_type == TensorProto.FLOAT
            and node.input[0] not in self.constants
        )

    def is_float(self, name: str) -> bool:
        """Whether the tensor is float32."""
        if name in self.constants:
            return self.constants[name].data_type == TensorProto.FLOAT
        return name in self._types and self._types[name].elem_type == TensorProto.FLOAT

    def rank(self, name: str) -> int | None:
        """How many axes an activation has, where that could be inferred."""
        known = name in self._types and self._types[name].HasField("shape")
        return len(self._types[name].shape.dim) if known else None

    def activations(self, node: NodeProto) -> list[str]:
        """The float32 inputs of a node that are no constants."""
        return [n for n in node.input if n and n not in self.constants and self.is_float(n)]

    def _before(self, names: Collection[str]) -> set[str]:
        """The nodes from which one of the named ones is reached, without these themselves."""
        found: set[str] = set()
        waiting = [node for node in self.nodes if node.name in names]
        while waiting:
            for name in waiting.pop().input:
                node = self.producer.get(name)
                if node is not None and node.name not in found:
                    found.add(node.name)
                    waiting.append(node)
        return found


def prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which every node has a name of its own and every constant is an initialiser.

    Raises Failure for a graph with branches, loops or functions of its own.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph, nodes, names = copy.graph, list[NodeProto](), set[str]()
    for node in graph.node:
        if copy.functions or any(a.HasField("g") or a.graphs for a in node.attribute):
            raise Failure(
                f"the graph has parts within parts ({node.op_type} {node.name!r}), which are not "
                "made in lower precision: export the network without branches and loops"
            )
        if node.op_type == "Constant":
            graph.initializer.append(_constant(node))
            continue
        if not node.name or node.name in names:
            node.name = f"makes {node.output[0]}"
        names.add(node.name)
        nodes.append(node)
    replace_nodes(graph, nodes)
    del graph.value_info[:]
    return copy


def replace_nodes(graph: onnx.GraphProto, nodes: Iterable[NodeProto]) -> None:
    """Makes `nodes`, some perhaps the graph's own, its nodes, and drops unread constants."""
    kept = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
    read = {name for node in kept for name in node.input} | {v.name for v in graph.output}
    constants = [t for t in graph.initializer if t.name in read]
    del graph.initializer[:]
    graph.initializer.extend(constants)


def without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with its large constants as inputs: their values say nothing about shapes."""
    light = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    graph = light.graph
    graph.name = model.graph.name
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= 64:
            graph.initializer.append(tensor)
        else:
            value = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            graph.input.append(value)
    return light


def _constant(node: NodeProto) -> TensorProto:
    """What a Constant node holds, by the name of its output."""
    attribute = node.attribute[0]
    tensor = TensorProto()
    if attribute.name == "value":
        tensor.CopyFrom(attribute.t)
    else:
        value = helper.get_attribute_value(attribute)
        shape = [len(value)] if attribute.name.endswith("s") else []
        kind = TensorProto.FLOAT if attribute.name.startswith("value_float") else TensorProto.INT64
        tensor = helper.make_tensor("", kind, shape, value if shape else [value])
    tensor.name = node.output[0]
    return tensor
