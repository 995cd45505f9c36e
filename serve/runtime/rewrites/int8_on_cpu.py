"""An INT8 graph in TensorRT's form, rewritten for what ONNX Runtime computes in integers on a CPU.

TensorRT wants signed activations, float biases, and Q/DQ pairs also on weights. ONNX Runtime takes
a convolution for an integer one only if its bias is int32 in units of (input scale x weight scale),
and is faster with unsigned activations. What never is negative starts at 0 and uses all 255 steps;
quantising then cuts off the negative half itself, so that Relu and Clip from 0 need not run.
The results are those of the original up to its own quantisation steps.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from serve.runtime.rewrites.channels_in_fours import fill_channels
from serve.runtime.rewrites.onnx_edit import Editable, scalar

Floats = NDArray[np.float32]
INT32 = np.iinfo(np.int32)
KEEP_SIGN = frozenset(
    "AveragePool Concat Flatten Gather GlobalAveragePool GlobalMaxPool MaxPool ReduceMax ReduceMean"
    " Reshape Slice Squeeze Transpose Unsqueeze Add Mul".split()
)
"""Operators that make nothing negative of inputs that are not."""


def for_cpu(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network for ONNX Runtime's CPU provider; the model given stays as it is.

    It is returned itself when it quantises nothing, or holds graphs within nodes.
    """
    nodes = model.graph.node
    inner = any(a.type == onnx.AttributeProto.GRAPH for node in nodes for a in node.attribute)
    if inner or not any(node.op_type == "QuantizeLinear" for node in nodes):
        return model
    rewritten = onnx.ModelProto()
    rewritten.CopyFrom(model)
    graph = Editable(rewritten)
    for rewrite in REWRITES:
        for node in list(graph.nodes):
            rewrite(graph, node)
    graph.store()
    return rewritten


def _fold_weights(graph: Editable, node: onnx.NodeProto) -> None:
    """A quantised constant becomes an int8 constant."""
    if node.op_type != "QuantizeLinear" or len(node.input) != 3:
        return
    value, scale, zero = (graph.constant(name) for name in node.input)
    if value is None or scale is None or zero is None:
        return
    if value.dtype != np.float32 or zero.dtype != np.int8 or zero.any():
        return
    if scale.ndim > 1 or not (scale > 0).all():
        return
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    if scale.ndim:
        scale = scale.reshape([-1 if k == axis % value.ndim else 1 for k in range(value.ndim)])
    folded = np.clip(np.rint(value / scale), -128, 127).astype(np.int8)
    graph.feed(node, 0, graph.add_constant(node.output[0], folded))
    graph.bypass(node)


def _join_activations(graph: Editable, node: onnx.NodeProto) -> None:
    """Nothing is rounded between an operator and the Relu or Clip behind it."""
    if node.op_type != "QuantizeLinear":
        return
    before, pair = graph.maker(node.input[0]), graph.only_reader(node.output[0])
    after = graph.only_reader(pair.output[0]) if pair is not None else None
    if pair is None or after is None or before is None or pair.op_type != "DequantizeLinear":
        return
    if before.op_type not in ("Conv", "Add") or graph.only_reader(node.input[0]) is not node:
        return
    again = graph.only_reader(after.output[0])
    if _top(graph, after) is not None and again is not None and again.op_type == node.op_type:
        graph.bypass(node, pair)


def _make_unsigned(graph: Editable, node: onnx.NodeProto) -> None:
    """int8 activations become uint8."""
    pairs = graph.readers(node.output[0])
    if node.op_type != "QuantizeLinear" or graph.is_result(node.output[0]):
        return
    if len(node.input) != 3 or graph.constant(node.input[0]) is not None:
        return
    scale, zero = scalar(graph.constant(node.input[1])), graph.constant(node.input[2])
    if scale is None or zero is None or zero.size != 1 or zero.dtype != np.int8:
        return
    same = all(list(pair.input[1:]) == list(node.input[1:]) for pair in pairs)
    if not same or any(pair.op_type != "DequantizeLinear" for pair in pairs):
        return
    whole = not zero.any() and _never_negative(graph, node.input[0])
    new_scale = scale * np.float32(127 / 255) if whole else scale
    new_zero = zero.astype(np.int16) * 0 if whole else zero.astype(np.int16) + 128
    # Constants of its own: the old ones may belong to others too.
    names = [
        graph.add_constant(f"{node.output[0]}_scale", np.asarray(new_scale, np.float32)),
        graph.add_constant(f"{node.output[0]}_zero", new_zero.astype(np.uint8).reshape(())),
    ]
    for one in (node, *pairs):
        for at, name in enumerate(names, 1):
            graph.feed(one, at, name)


def _cut_off(graph: Editable, node: onnx.NodeProto) -> None:
    """What is quantised from 0 on needs no Relu before, nor a Clip at or above the last step."""
    if node.op_type != "QuantizeLinear" or len(node.input) != 3:
        return
    scale, zero = scalar(graph.constant(node.input[1])), graph.constant(node.input[2])
    before = graph.maker(node.input[0])
    if scale is None or zero is None or zero.dtype != np.uint8 or zero.any() or before is None:
        return
    top = _top(graph, before)
    # Half a step above is rounded down to it.
    if top is not None and top > 254.5 * scale and graph.only_reader(node.input[0]) is node:
        graph.bypass(before)


def _round_biases(graph: Editable, node: onnx.NodeProto) -> None:
    """A float bias between quantised inputs becomes int32, unless its steps do not reach it."""
    if node.op_type not in ("Conv", "ConvTranspose", "Gemm") or len(node.input) < 3:
        return
    bias, scales = graph.constant(node.input[2]), [_scale(graph, name) for name in node.input[:2]]
    if bias is None or bias.dtype != np.float32 or scales[0] is None or scales[1] is None:
        return
    step = np.broadcast_to((scales[0] * scales[1]).astype(np.float32), bias.shape)
    if not (step > 0).all():
        return
    rounded = np.rint(bias.astype(np.float64) / step)
    if not (np.isfinite(rounded).all() and np.abs(rounded).max(initial=0) <= INT32.max):
        return
    like = f"{node.output[0]}_bias"
    inputs = [
        graph.add_constant(like, rounded.astype(np.int32)),
        graph.add_constant(f"{like}_scale", np.ascontiguousarray(step)),
        graph.add_constant(f"{like}_zero", np.zeros(bias.shape, np.int32)),
    ]
    made = f"{inputs[0]}_float"
    graph.insert(helper.make_node("DequantizeLinear", inputs, [made], axis=0, name=made), node)
    graph.feed(node, 2, made)


def _centre_planes(graph: Editable, node: onnx.NodeProto) -> None:
    """The mean is taken off planes as a BatchNormalization: ONNX Runtime, which has the channels
    last around its integer convolutions, takes a Sub there too, three values at a time."""
    after = graph.only_reader(node.output[0])
    if node.op_type != "Sub" or after is None or after.op_type != "QuantizeLinear":
        return
    mean = graph.constant(node.input[1])
    if mean is None or mean.dtype != np.float32 or mean.shape != (1, mean.size, 1, 1):
        return
    ones = np.ones(mean.size, np.float32)
    values = (ones, -mean.ravel(), 0 * ones, ones)
    inputs = [node.input[0], *(graph.add_constant(f"{node.output[0]}_by", v) for v in values)]
    made = f"{node.output[0]}_planes"
    new = helper.make_node("BatchNormalization", inputs, [made], epsilon=0.0, name=made)
    graph.insert(new, node)
    graph.feed(after, 0, made)
    graph.bypass(node)


REWRITES = (
    _fold_weights,
    _join_activations,
    _make_unsigned,
    _cut_off,
    _round_biases,
    _centre_planes,
    fill_channels,
)


def _scale(graph: Editable, tensor: str) -> Floats | None:
    """The float32 scale, [] or [channels], of a tensor that comes out of integers."""
    made = graph.maker(tensor)
    if made is None or made.op_type != "DequantizeLinear":
        return None
    scale = graph.constant(made.input[1])
    if scale is None or scale.dtype != np.float32 or scale.ndim > 1:
        return None
    return scale.reshape(()) if scale.size == 1 else scale


def _top(graph: Editable, node: onnx.NodeProto) -> float | None:
    """Where a Relu or a Clip from 0 ends: infinity or its maximum; None for other nodes."""
    if node.op_type == "Relu":
        return float("inf")
    if node.op_type != "Clip" or len(node.input) < 2 or not node.input[1]:
        return None
    low = scalar(graph.constant(node.input[1]))
    if low is None or low != 0:
        return None
    if len(node.input) < 3 or not node.input[2]:
        return float("inf")
    high = scalar(graph.constant(node.input[2]))
    return None if high is None else float(high)


def _never_negative(graph: Editable, tensor: str) -> bool:
    constant, node = graph.constant(tensor), graph.maker(tensor)
    if constant is not None:
        return bool((constant >= 0).all())
    if node is None:
        return False
    if node.op_type in ("Relu", "Sigmoid", "Softmax") or _top(graph, node) is not None:
        return True
    if node.op_type == "DequantizeLinear":
        made = graph.maker(node.input[0])
        return made is not None and _never_negative(graph, made.input[0])
    if node.op_type == "Resize":  # cubic interpolation overshoots
        cubic = any(a.name == "mode" and a.s == b"cubic" for a in node.attribute)
        return not cubic and _never_negative(graph, node.input[0])
    data = node.input if node.op_type in ("Add", "Mul", "Concat") else node.input[:1]
    return node.op_type in KEEP_SIGN and all(_never_negative(graph, name) for name in data)
