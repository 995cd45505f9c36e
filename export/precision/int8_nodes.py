"""Where a graph computes in 8 bits: which nodes, and on which tensors the values are rounded.

A pair of QuantizeLinear and DequantizeLinear stands on every input of a quantised node, and behind
a quantised node, or rather behind the Relu or Clip that belongs to it: rounding between the two
would keep both TensorRT and ONNX Runtime from making one kernel of them, and would round twice.
Additions are quantised where one side comes from a quantised node; elsewhere 8 bits save nothing.
The last layers, those behind which nothing weighted comes, are not: they are a small part of the
work, and their rounding errors go straight into the labels. What they alone read is rounded where
the budget allows it (`LAST_READ`): ONNX Runtime computes a convolution in integers only if what it
gives is rounded, and with PIDNet-S that one is a quarter of the int8 network's time.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from onnx import NodeProto

from export.precision.graph_index import Flow

ACTIVATIONS = frozenset({"Relu", "Clip"})
LAST_READ = "what the last layers alone read"
"""Among the groups that stay float32: the tensors that the last layers alone read."""


class Sites(NamedTuple):
    """`nodes`: names of the quantised nodes; `written`: tensors of which every reader gets the
    rounded values; `given`: tensors of which only the quantised nodes do."""

    nodes: frozenset[str]
    written: frozenset[str]
    given: frozenset[str]

    @property
    def tensors(self) -> frozenset[str]:
        """All tensors that are rounded."""
        return self.written | self.given


def sites(
    flow: Flow,
    kept: Collection[str] = (),
    dead: Collection[str] = (),
    *,
    last_read: bool = True,
) -> Sites:
    """The sites of a graph in which the nodes named in `kept` stay as they are.

    The tensors named in `dead` are not rounded, and no node that reads one is quantised; without
    `last_read`, neither are those that the last layers alone read.
    """
    nodes, written, given = set[str](), set[str](), set[str]()
    for node in flow.nodes:
        if node.name in kept or node.name in flow.tail or not _quantisable(flow, node, written):
            continue
        inputs = flow.activations(node)
        if any(name in dead for name in inputs):
            continue
        nodes.add(node.name)
        given.update(inputs)
        behind = _behind(flow, node)
        readers = flow.readers.get(behind, [])
        read = any(n.name not in flow.tail or (last_read and flow.is_weighted(n)) for n in readers)
        if read and behind not in flow.outputs and behind not in dead:
            written.add(behind)
    return Sites(frozenset(nodes), frozenset(written), frozenset(given - written))


def _quantisable(flow: Flow, node: NodeProto, written: Collection[str]) -> bool:
    if node.op_type != "Add":
        return flow.is_weighted(node)
    inputs = flow.activations(node)
    return len(inputs) == 2 and any(name in written for name in inputs)


def _behind(flow: Flow, node: NodeProto) -> str:
    """The tensor that a node writes, seen with the Relu or Clip that is its only reader."""
    output = node.output[0]
    readers = flow.readers.get(output, [])
    alone = len(readers) == 1 and readers[0].op_type in ACTIVATIONS and output not in flow.outputs
    return readers[0].output[0] if alone else output
