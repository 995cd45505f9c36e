"""INT8 as TensorRT wants it: explicit, symmetric, and only where it pays.

The weights stay float32 in the file, each with a pair of QuantizeLinear and DequantizeLinear per
output channel; activations have one scale. All zero points are 0, biases stay float32, and so do
the last layers and everything behind them (see `sites`).

A convolution's scales leave room for two neighbouring weights in one byte, not only for the largest
one: then the fast kernels of x86 without VNNI are exact (see `serve.runtime.byte_products`). What
that costs in steps, and more, its bias gives back: what rounding the weights adds to a channel on
average is known from the channels' means and taken off (Nagel et al., "Data-Free Quantization
through Weight Equalization and Bias Correction", ICCV 2019, section 4.2, the means measured).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from export.precision.calibration.ranges import Ranges
from export.precision.graph_index import WEIGHTED, Flow, prepared, replace_nodes, without_weights
from export.precision.groups import group_nodes
from export.precision.int8_nodes import LAST_READ, Sites, sites
from roadshift import Failure, unknown
from serve.runtime.byte_products import filled, neighbours

PAIR = ("QuantizeLinear", "DequantizeLinear")
_LARGEST = 127  # -128 is not used: the range is symmetric
_SMALLEST = _LARGEST * float(np.finfo(np.float32).tiny)
"""The smallest range: a smaller one has a scale that float32 cannot hold exactly."""


def to_int8(
    model: onnx.ModelProto, ranges: Ranges, keep: Collection[str] = frozenset()
) -> onnx.ModelProto:
    """The float32 graph with pairs of QuantizeLinear and DequantizeLinear.

    `ranges` are those of this graph, `keep` the names of layer groups (see `groups`) that stay
    float32; LAST_READ among them keeps what the last layers alone read from being rounded. Inputs,
    outputs and properties stay as they are. A node of which an input was never anything but 0 stays
    float32. Raises UserError for an unknown group, Failure for ranges of another graph and where
    nothing is left to quantise.
    """
    model = prepared(model)
    flow = Flow(model)
    dead = {name for name in sites(flow).tensors if ranges.bound(name) < _SMALLEST}
    kept = kept_nodes(flow, set(keep) - {LAST_READ})
    chosen = sites(flow, kept, dead, last_read=LAST_READ not in keep)
    writer = _Writer(flow, chosen, ranges)
    nodes = list(writer.nodes())
    model.graph.initializer.extend(writer.constants)
    replace_nodes(model.graph, nodes)
    onnx.checker.check_model(without_weights(model))  # a search does this up to 33 times
    check_int8(model)
    return model


def kept_nodes(flow: Flow, keep: Collection[str]) -> set[str]:
    """The nodes of the named groups; UserError for a group that the graph has not."""
    groups = group_nodes(flow)
    for name in sorted(keep):
        if name not in groups:
            raise unknown("layer group", name, groups)
    return {node for name in keep for node in groups[name]}


def check_int8(model: onnx.ModelProto) -> None:
    """Raises Failure for a graph that is not INT8 in TensorRT's form, or not only where it pays."""
    flow = Flow(model)
    pairs = [node for node in flow.nodes if node.op_type in PAIR]
    if not pairs:
        raise Failure("the INT8 graph has no quantised node: it is a float32 graph")
    for node in pairs:
        scale, zero = (flow.constants.get(name) for name in [*node.input, "", ""][1:3])
        if scale is None or zero is None:
            raise Failure(f"{node.op_type} {node.name!r} has no constant scale and zero point")
        scales, zeros = numpy_helper.to_array(scale), numpy_helper.to_array(zero)
        if not (np.isfinite(scales) & (scales >= np.finfo(np.float32).tiny)).all():
            raise Failure(f"a scale of {node.op_type} {node.name!r} is not a positive number")
        if zero.data_type != TensorProto.INT8:
            raise Failure(f"{node.op_type} {node.name!r} makes no int8: a quantised bias, perhaps")
        if zeros.any():
            raise Failure(f"{node.op_type} {node.name!r} has a zero point that is not 0")
        if node.name in flow.tail:
            raise Failure(
                f"{node.op_type} {node.name!r} rounds what the labels are made of, behind the last "
                "layer: a quantised Resize or ArgMax"
            )
    for node in flow.nodes:
        bias = node.input[2] if node.op_type in WEIGHTED and len(node.input) > 2 else ""
        if bias in flow.producer and flow.producer[bias].op_type in PAIR:
            raise Failure(f"the bias of {node.op_type} {node.name!r} is quantised")


class _Writer:
    """Puts the pairs between the nodes of a graph and collects the constants that they need."""

    def __init__(self, flow: Flow, chosen: Sites, ranges: Ranges) -> None:
        self.constants: list[TensorProto] = []
        self._flow, self._chosen, self._ranges = flow, chosen, ranges
        self._rounded: dict[str, str] = {}  # tensor -> the tensor with its rounded values

    def nodes(self) -> Iterator[NodeProto]:
        """The nodes in an order that ONNX allows, each pair beside the tensor that it rounds."""
        for name in self._flow.inputs:
            yield from self._activation(name)
        for old in self._flow.nodes:
            node = NodeProto.FromString(old.SerializeToString())
            quantised = node.name in self._chosen.nodes
            if quantised and self._flow.is_weighted(node):
                yield from self._weights(node)
                self._correct_bias(node)
            for i, name in enumerate(node.input):
                if name in self._rounded and (quantised or name in self._chosen.written):
                    node.input[i] = self._rounded[name]
            yield node
            for name in node.output:
                yield from self._activation(name)

    def _activation(self, name: str) -> Iterator[NodeProto]:
        if name in self._chosen.tensors:
            scale = np.float32(self._ranges.bound(name) / _LARGEST)
            yield from self._pair(name, np.asarray(scale), None)

    def _weights(self, node: NodeProto) -> Iterator[NodeProto]:
        """The pair on the weights of a node, one scale an output channel."""
        weights, axis = numpy_helper.to_array(self._flow.constants[node.input[1]]), _axis(node)
        axis = axis % weights.ndim
        if node.input[1] not in self._rounded:
            scales = weight_scales(np.moveaxis(weights, axis, 0), node.op_type)
            yield from self._pair(node.input[1], scales, axis)

    def _correct_bias(self, node: NodeProto) -> None:
        """Takes off what the rounded weights of a convolution add to each channel on average."""
        if node.op_type != "Conv":
            return
        weights = numpy_helper.to_array(self._flow.constants[node.input[1]])
        added = mean_error(weights, np.array(self._ranges.means[node.input[0]]))
        bias = np.zeros(len(weights), np.float32)
        if len(node.input) > 2 and node.input[2]:
            if node.input[2] not in self._flow.constants:
                return
            bias = numpy_helper.to_array(self._flow.constants[node.input[2]])
        corrected = f"{node.name}_corrected_bias"
        self.constants.append(numpy_helper.from_array((bias - added).astype("f4"), corrected))
        node.input[:] = [*node.input[:2], corrected]

    def _pair(self, name: str, scale: NDArray[np.float32], axis: int | None) -> Iterator[NodeProto]:
        scales, zeros = f"{name}_scale", f"{name}_zero_point"
        self.constants.append(numpy_helper.from_array(scale, scales))
        self.constants.append(numpy_helper.from_array(np.zeros(scale.shape, np.int8), zeros))
        given = name
        for op, made in zip(PAIR, (f"{name}_quantized", f"{name}_dequantized"), strict=True):
            inputs = [given, scales, zeros]
            yield helper.make_node(op, inputs, [made], f"{name}_{op}", axis=axis)
            given = made
        self._rounded[name] = given


def weight_scales(weights: NDArray[np.float32], op: str) -> NDArray[np.float32]:
    """The step of each output channel of [channels, ...] weights, float32 [channels]."""
    largest = np.abs(weights).reshape(len(weights), -1).max(1)
    if op == "Conv":
        largest = np.maximum.reduce([largest, neighbours(weights), neighbours(filled(weights))])
    # Any scale does for weights that are all 0.
    return np.where(largest < _SMALLEST, 1.0, largest / _LARGEST).astype(np.float32)


def mean_error(weights: NDArray[np.float32], means: NDArray[np.float64]) -> NDArray[np.float64]:
    """What rounding a convolution's weights [o,i,h,w] adds to each output channel on average, [o].

    `means` are those of the channels read, [groups * i]; that zeros lie around the map is left out.
    """
    scales = weight_scales(weights, "Conv").reshape(-1, 1, 1, 1)
    off = (np.rint(weights / scales) * scales - weights).sum((2, 3), dtype=np.float64)
    groups = len(means) // weights.shape[1]
    read = means.reshape(groups, -1).repeat(len(weights) // groups, 0)
    return (off * read).sum(1)


def _axis(node: NodeProto) -> int:
    """The axis of a node's weights that stands for the output channels."""
    if node.op_type == "Gemm":
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        return 0 if transposed else 1
    return {"Conv": 0, "ConvTranspose": 1, "MatMul": -1}[node.op_type]
