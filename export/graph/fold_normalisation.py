"""The normalisation of a picture as part of the first convolution, where that is exact.

Between the bytes of a frame and the first convolution lie a division by 255, perhaps a bilinear
resize, perhaps another order of channels, a subtraction of the mean, a division by the deviation.
All are affine in the channel, and a bilinear resize commutes with them, so scale and order go into
the weights. The mean goes into the bias where the convolution pads nothing; where it pads with
zeros, which stand for the mean, one subtraction stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

Floats = NDArray[np.float32]


@dataclass
class _Affine:
    """What has become of the channels so far: `scale * bytes[order] + offset`, in float64."""

    scale: NDArray[np.float64] = field(default_factory=lambda: np.ones(3))
    offset: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    order: NDArray[np.int64] = field(default_factory=lambda: np.arange(3))
    nodes: list[NodeProto] = field(default_factory=list[NodeProto])
    """Those that the convolution makes superfluous."""


def fold_normalisation(model: onnx.ModelProto) -> bool:
    """Changes the graph in place; False, and nothing changed, where there is no such chain.

    The graph's first input is uint8 [n,h,w,3].
    """
    graph = model.graph
    values = {t.name: t for t in graph.initializer}
    affine = _Affine()
    cast = next(_floats_of_image(graph), None)
    conv = cast and _conv_behind(graph, cast.output[0], values, affine)
    if cast is None or conv is None or not affine.nodes:
        return False
    weights = numpy_helper.to_array(values[conv.input[1]])
    folded = np.zeros(weights.shape, np.float64)
    folded[:, affine.order] = weights * affine.scale[:, None, None]
    mean = np.zeros(3)
    mean[affine.order] = -affine.offset / affine.scale
    _bypass(graph, affine.nodes)
    conv.input[1] = _add(graph, conv.input[1], folded.astype(np.float32))
    if mean.any():
        if _pads(conv):
            _subtract(graph, conv, mean.astype(np.float32))
        else:
            bias = numpy_helper.to_array(values[conv.input[2]]) if len(conv.input) > 2 else 0.0
            bias = (bias - (folded.sum((2, 3)) @ mean)).astype(np.float32)
            name = _add(graph, conv.input[2] if len(conv.input) > 2 else "first_bias", bias)
            conv.input[:] = [*conv.input[:2], name]
    _drop_unused(graph)
    return True


def _floats_of_image(graph: onnx.GraphProto) -> Iterator[NodeProto]:
    """The casts of the transposed picture to float32."""
    planes = {
        node.output[0]
        for node in graph.node
        if node.op_type == "Transpose" and node.input[0] == graph.input[0].name
    }
    for node in graph.node:
        to_float = node.op_type == "Cast" and _attributes(node)["to"] == TensorProto.FLOAT
        if to_float and node.input[0] in planes:
            yield node


def _conv_behind(
    graph: onnx.GraphProto, value: str, values: dict[str, TensorProto], affine: _Affine
) -> NodeProto | None:
    """The convolution that a chain of affine nodes leads to; None where anything else is there."""
    while True:
        users = [n for n in graph.node if value in n.input and n.op_type != "Shape"]
        if len(users) != 1:
            return None
        (node,) = users
        if node.op_type == "Conv":
            known = all(name in values for name in node.input[1:])
            return node if known and _attributes(node).get("group", 1) == 1 else None
        if not _follow(node, value, values, affine):
            return None
        value = node.output[0]


def _follow(node: NodeProto, value: str, values: dict[str, TensorProto], affine: _Affine) -> bool:
    """Takes one node into account; False for one that is not affine in the channel."""
    if node.op_type == "Resize":
        return _attributes(node).get("mode") == b"linear"
    constants = [numpy_helper.to_array(values[name]) for name in node.input if name in values]
    if len(constants) != 1 or len(node.input) != 2:
        return False
    constant = constants[0]
    if node.op_type == "Gather":
        if _attributes(node).get("axis") != 1 or sorted(constant.tolist()) != [0, 1, 2]:
            return False
        affine.scale, affine.offset = affine.scale[constant], affine.offset[constant]
        affine.order = affine.order[constant]
    else:
        by_channel = constant.size == 1 or constant.shape in {(1, 3, 1, 1), (3, 1, 1)}
        first = node.input[0] == value
        if not by_channel or not _apply(node.op_type, first, constant.reshape(-1), affine):
            return False
    affine.nodes.append(node)
    return True


def _apply(op: str, first: bool, constant: NDArray[Any], affine: _Affine) -> bool:
    c = constant.astype(np.float64)
    if op == "Mul" or (op == "Div" and first):
        factor = c if op == "Mul" else 1 / c
        affine.scale, affine.offset = affine.scale * factor, affine.offset * factor
    elif op == "Add" or (op == "Sub" and first):
        affine.offset = affine.offset + (c if op == "Add" else -c)
    else:
        return False
    return True


def _attributes(node: NodeProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def _pads(conv: NodeProto) -> bool:
    """Whether zeros are put around the picture."""
    attributes = _attributes(conv)
    auto = attributes.get("auto_pad", b"NOTSET")
    return any(attributes.get("pads", [])) or auto not in (b"NOTSET", b"VALID")


def _bypass(graph: onnx.GraphProto, nodes: list[NodeProto]) -> None:
    """Takes nodes out of the graph; who used an output uses the node's first input instead."""
    made = {n.name for n in graph.initializer}
    for node in nodes:
        (before,) = [name for name in node.input if name not in made]
        for other in graph.node:
            for i, name in enumerate(other.input):
                if name == node.output[0]:
                    other.input[i] = before
        graph.node.remove(node)


def _subtract(graph: onnx.GraphProto, conv: NodeProto, mean: Floats) -> None:
    name = _add(graph, "first_mean", mean.reshape(1, 3, 1, 1))
    sub = helper.make_node("Sub", [conv.input[0], name], ["centred"], name="centred")
    at = next(i for i, node in enumerate(graph.node) if node.output[0] == conv.output[0])
    conv.input[0] = "centred"
    graph.node.insert(at, sub)


def _add(graph: onnx.GraphProto, name: str, value: Floats) -> str:
    """An initialiser of that name, or of that name and more where others use it."""
    old = next((t for t in graph.initializer if t.name == name), None)
    if old is not None and sum(name in node.input for node in graph.node) == 1:
        old.CopyFrom(numpy_helper.from_array(value, name))
        return name
    new = f"{name}_folded" if old is not None else name
    graph.initializer.append(numpy_helper.from_array(value, new))
    return new


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [t for t in graph.initializer if t.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
