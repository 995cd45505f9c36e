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


VERSION = "1"


def model_spec(graph: Graph) -> ModelSpec:
    """A graph as the protocol's model; there is one version."""
    return ModelSpec(graph.name, VERSION, graph.inputs, graph.outputs)
