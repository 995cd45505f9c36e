"""Which nodes of a graph may compute in float16.

float16 holds numbers up to 65504 with 11 bits, and with fewer below 2**-14. A node stays float32
- when it is of a kind that adds up many numbers, divides by their sum, or is not known here;
- when it comes behind the last layers: the labels are made there, of logits that are compared;
- when a value that it reads or makes came within a factor of 8 of the largest on the calibration
  frames, which are few, or is a constant that float16 does not hold;
- when its constants, or an activation, are all below 2**-14: so small an epsilon becomes 0.
A node without weights between float32 nodes stays float32 too, which saves two casts.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from onnx import NodeProto, numpy_helper

from export.precision.calibration.ranges import Ranges
from export.precision.graph_index import Flow
from roadshift import Failure

HEADROOM = 8
LARGEST = float(np.finfo(np.float16).max)
SMALLEST = float(np.finfo(np.float16).smallest_normal)
SAFE = frozenset(
    "Add Cast Clip Concat Conv ConvTranspose DepthToSpace Div Dropout Elu Expand Flatten Gather "
    "Gemm HardSigmoid HardSwish Identity LeakyRelu MatMul Max MaxPool Min Mul Neg Pad PRelu Relu "
    "Reshape Resize Sigmoid Slice SpaceToDepth Split Squeeze Sub Tanh Tile Transpose Unsqueeze "
    "Where".split()
)
"""AveragePool is not among them: a window of 17x17 adds up 289 numbers."""


def half_nodes(flow: Flow, ranges: Ranges | None, kept: Collection[str]) -> frozenset[str]:
    """The names of these nodes; Failure where there is none. `kept` names nodes that stay."""
    half = {
        node.name
        for node in flow.nodes
        if node.name not in kept
        and (node.name not in flow.tail or flow.is_weighted(node))
        and node.op_type in SAFE
        and _fits(flow, node, ranges)
    }
    _drop_islands(flow, half)
    if not any(flow.is_weighted(node) for node in flow.nodes if node.name in half):
        raise Failure(
            "no layer of this graph can be float16: its values are too large or too small for it, "
            "or all layers were kept in float32"
        )
    return frozenset(half)


def _fits(flow: Flow, node: NodeProto, ranges: Ranges | None) -> bool:
    """Whether the node has floats at all, and all that it reads and makes are safe in float16."""
    names = [name for name in (*node.input, *node.output) if name and flow.is_float(name)]
    for name in names:
        if name in flow.constants:
            if node.op_type == "Resize":
                continue  # its scales, which stay float32
            values = np.abs(numpy_helper.to_array(flow.constants[name]))
            largest, most = float(values.max(initial=0)), LARGEST
        elif ranges is not None and name in ranges.largest:
            largest, most = ranges.largest[name], LARGEST / HEADROOM
        else:
            continue
        if largest > most or 0 < largest < SMALLEST or not np.isfinite(largest):
            return False
    return bool(names)


def _drop_islands(flow: Flow, half: set[str]) -> None:
    """Takes out the nodes without weights that have float32 nodes alone around them."""
    before = -1
    while before != len(half):
        before = len(half)
        for node in flow.nodes:
            if node.name not in half or flow.is_weighted(node):
                continue
            makers = [flow.producer[n] for n in flow.activations(node) if n in flow.producer]
            readers = [r for name in node.output for r in flow.readers.get(name, [])]
            around = [n.name for n in (*makers, *readers) if n.op_type != "Shape"]
            if not half.intersection(around):
                half.discard(node.name)
