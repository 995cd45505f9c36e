"""What no graph of a bundle may hold: chance, and numbers that lie in other files.

What a graph draws at random no golden frame can vouch for, and a file beside it has no hash in the
manifest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
from onnx import AttributeProto, NodeProto, TensorProto

from roadshift import Failure

RANDOM = frozenset(
    "Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike".split()
)


def checked(path: Path) -> onnx.ModelProto:
    """The graph in a bundle's file; raises like `check_content`."""
    model = onnx.load_from_string(path.read_bytes())
    check_content(model, str(path))
    return model


def check_content(model: onnx.ModelProto, what: str) -> None:
    """Raises Failure where the graph is not all there is to the network; `what` names the file."""
    nodes = [*_nodes(model.graph.node), *(n for f in model.functions for n in _nodes(f.node))]
    chance = sorted({node.op_type for node in nodes if _random(node)})
    if chance:
        raise Failure(
            f"{what} answers by chance ({', '.join(chance)}), so that its golden frames prove "
            "nothing: export the run again"
        )
    tensors = [*_tensors([model.graph]), *(_held(nodes))]
    if any(tensor.data_location == TensorProto.EXTERNAL for tensor in tensors):
        raise Failure(
            f"{what} reads numbers from another file, which has no hash in the manifest: export "
            "the run again"
        )


def _random(node: NodeProto) -> bool:
    # Dropout draws where its third input, the training mode, is given.
    dropout = node.op_type == "Dropout" and len(node.input) > 2 and bool(node.input[2])
    return dropout or node.op_type in RANDOM


def _nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """These, and those of the graphs within them."""
    for node in nodes:
        yield node
        for graph in _graphs(node):
            yield from _nodes(graph.node)


def _graphs(node: NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _tensors(graphs: Iterable[onnx.GraphProto]) -> Iterator[TensorProto]:
    for graph in graphs:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)


def _held(nodes: Iterable[NodeProto]) -> Iterator[TensorProto]:
    """The tensors in the attributes of nodes, and in the graphs within them."""
    for node in nodes:
        yield from _tensors(_graphs(node))
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
