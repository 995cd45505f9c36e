"""A model as the protocol knows it: its name, version and tensors."""

from __future__ import annotations

from typing import NamedTuple

from serve.runtime.graph import Graph, TensorSpec


class ModelSpec(NamedTuple):
    """What a model is called, takes and gives."""

    name: str
    version: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    digest: str = ""
    """of the bundle that it is from: every answer tells which one it came of"""


def model_spec(graph: Graph, version: str) -> ModelSpec:
    """A graph as the protocol's model, of that version."""
    return ModelSpec(graph.name, version, graph.inputs, graph.outputs, graph.bundle.digest)
