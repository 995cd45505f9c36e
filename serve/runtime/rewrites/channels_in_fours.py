"""Channels of zeros that let ONNX Runtime convolve an image by its fast integer kernel.

That kernel reads input channels in fours. The three of an image take the general way, which copies
every window first: twice the time, in the layer that has the most positions of all.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from serve.runtime.byte_products import MOST, filled, neighbours
from serve.runtime.rewrites.onnx_edit import Editable


def fill_channels(graph: Editable, node: NodeProto) -> None:
    """The channels that an int8 convolution reads, and its weights', filled up to fours.

    The sums stay the same to the bit, since the new weights are 0. What fits the fast kernels of
    CPUs without VNNI (see `serve.runtime.byte_products`) and would not do so any more is left.
    """
    if node.op_type != "Conv" or any(a.name == "group" and a.i > 1 for a in node.attribute):
        return
    data, kernel = (_read_by_it_alone(graph, name) for name in node.input[:2])
    if data is None or kernel is None:
        return
    weights = graph.constant(kernel.input[0])
    if weights is None or weights.dtype != np.int8:
        return
    more = filled(weights)
    if more.shape == weights.shape or (_fits(weights) and not _fits(more)):
        return
    pads = [0] * weights.ndim + [0, more.shape[1] - weights.shape[1]] + [0] * (weights.ndim - 2)
    made = f"{data.output[0]}_in_fours"
    by = graph.add_constant(f"{made}_by", np.array(pads, np.int64))
    graph.insert(helper.make_node("Pad", [data.input[0], by], [made], name=made), data)
    graph.feed(data, 0, made)
    graph.feed(kernel, 0, graph.add_constant(f"{kernel.input[0]}_in_fours", more))


def _read_by_it_alone(graph: Editable, tensor: str) -> NodeProto | None:
    """The DequantizeLinear with a zero point that makes a tensor of one reader."""
    made = graph.maker(tensor)
    if made is None or made.op_type != "DequantizeLinear" or len(made.input) != 3:
        return None
    return made if graph.only_reader(tensor) is not None else None


def _fits(weights: NDArray[np.int8]) -> bool:
    return bool((neighbours(weights.astype(np.int64)) <= MOST).all())
