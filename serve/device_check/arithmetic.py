"""How much of a network's arithmetic a graph really does in the precision it is named after.

Counted are multiply-adds of convolutions and matrix products that an output depends on, for one
frame: in fp16 where their weights are float16, in INT8 where both factors come out of
DequantizeLinear, and so out of bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import onnx
from onnx import TensorProto

from roadshift import Failure

LEAST = 0.25
"""The share that a lower precision must do: with less it is one in name only."""
SLACK = 0.1
"""How much less of it than was counted at export is still the same graph: another version of onnx
may infer other sizes."""
PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def lowered_share(model: onnx.ModelProto, precision: str, size: tuple[int, int]) -> float:
    """The share (0..1) of a graph's multiply-adds in "fp16" or "int8", for a frame of `size`
    (height, width); the graph's one input is [n,h,w,...]."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    axes = fixed.graph.input[0].type.tensor_type.shape.dim
    for axis, length in zip(axes, (1, *size), strict=False):
        axis.dim_value = length
    inferred = onnx.shape_inference.infer_shapes(fixed, data_prop=True).graph
    pixels = {
        value.name: math.prod(d.dim_value or 1 for d in value.type.tensor_type.shape.dim[2:])
        for value in (*inferred.value_info, *inferred.output)
    }
    weights = {tensor.name: tensor for tensor in inferred.initializer}
    made = {name: node for node in inferred.node for name in node.output}
    needed = _needed([output.name for output in inferred.output], made)
    total = lower = 0
    for node in inferred.node:
        if node.op_type not in PRODUCTS or needed.isdisjoint(node.output):
            continue
        sources = [_behind_quantisation(name, made) for name in node.input[:2]]
        weight = next((weights[name] for name, _ in reversed(sources) if name in weights), None)
        if weight is None:
            continue
        spread = node.input[0] if node.op_type == "ConvTranspose" else node.output[0]
        count = math.prod(weight.dims) * pixels.get(spread, 1)
        in_bytes = all(quantised for _, quantised in sources)
        in_halves = weight.data_type == TensorProto.FLOAT16
        total += count
        lower += count * (in_bytes if precision == "int8" else in_halves)
    return lower / total if total else 0.0


def check_precision(
    model: onnx.ModelProto,
    precision: str,
    size: tuple[int, int],
    what: str,
    known: float | None = None,
) -> float | None:
    """The share, None for fp32; Failure where a graph of lower precision is one in name only, or
    does less than was `known` at export."""
    if precision == "fp32":
        return None
    share = lowered_share(model, precision, size)
    least = max(LEAST, (known or 0.0) - SLACK)
    if share < least:
        raise Failure(
            f"{what} does {share:.1%} of its multiply-adds in {precision}, wanted {least:.1%} at "
            "least: it is not what its name says; export the run again, or use fp32"
        )
    return share


def known_share(checks: Mapping[str, Any], precision: str) -> float | None:
    """What was counted at export, by a bundle's checks; None where they do not say."""
    device = checks.get("device")
    made = device.get("precisions") if isinstance(device, dict) else None
    for one in made if isinstance(made, list) else ():
        if isinstance(one, dict) and one.get("precision") == precision:
            share = one.get("lowered")
            return float(share) if isinstance(share, int | float) else None
    return None


def _needed(outputs: Iterable[str], made: Mapping[str, onnx.NodeProto]) -> set[str]:
    """The names of all that `outputs` are made of, and theirs."""
    found, left = set[str](), list(outputs)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += made[name].input if name in made else ()
    return found


def _behind_quantisation(name: str, made: dict[str, onnx.NodeProto]) -> tuple[str, bool]:
    """What a factor is made of, and whether it comes out of integers."""
    node = made.get(name)
    if node is None or node.op_type != "DequantizeLinear":
        return name, False
    before = made.get(node.input[0])
    if before is not None and before.op_type == "QuantizeLinear":
        return before.input[0], True
    return node.input[0], True
