"""What the server says of its models: metadata, configuration, statistics, a page for people."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from roadshift import __version__
from serve.models.metrics import ModelMetrics
from serve.models.model_spec import VERSION, ModelSpec
from serve.runtime.engine import Engine
from serve.runtime.graph import Graph, TensorSpec

EXTENSIONS = ["binary_tensor_data", "model_configuration", "model_repository", "statistics"]


def metadata(graph: Graph) -> dict[str, Any]:
    """The protocol's model metadata, and beside it what the model runs in."""
    return {
        "name": graph.name,
        "versions": [VERSION],
        "platform": "onnx_onnxv1",
        "inputs": [_tensor(spec) for spec in graph.inputs],
        "outputs": [_tensor(spec) for spec in graph.outputs],
        "parameters": _how(graph),
    }


def config(graph: Graph) -> dict[str, Any]:
    """Triton's model configuration; classes, colours and what it runs in are its parameters."""
    bundle = graph.bundle
    listed = {"classes": bundle.classes, "palette": bundle.palette}
    parameters = {key: json.dumps(value) for key, value in listed.items()} | _how(graph)
    return {
        "name": graph.name,
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "max_batch_size": 0,
        "input": [_config_tensor(spec) for spec in graph.inputs],
        "output": [_config_tensor(spec) for spec in graph.outputs],
        "parameters": {key: {"string_value": value} for key, value in parameters.items()},
    }


def server() -> dict[str, Any]:
    """The protocol's server metadata."""
    return {"name": "roadshift", "version": __version__, "extensions": EXTENSIONS}


def index(models: Iterable[ModelSpec], unready: str | None) -> list[dict[str, str]]:
    """Triton's index of the repository; `unready` is why the models are not ready, or None."""
    shared = {"state": "UNAVAILABLE" if unready else "READY", "reason": unready or ""}
    return [{"name": model.name, "version": model.version, **shared} for model in models]


def statistics(models: Iterable[ModelMetrics]) -> dict[str, Any]:
    """Triton's statistics of those models."""
    return {"model_stats": [_statistics(model) for model in models]}


def _how(graph: Graph) -> dict[str, str]:
    how = {"precision": graph.precision, "provider": graph.provider}
    return how | ({"route": graph.route} if isinstance(graph, Engine) else {})


def _statistics(model: ModelMetrics) -> dict[str, Any]:
    tallies = model.tallies
    counted = {f.name: getattr(tallies, f.name) for f in fields(tallies)}
    return {
        "name": model.name,
        "version": model.version,
        "last_inference": int(tallies.compute_infer.last * 1000),
        "inference_count": model.counts.images,
        "execution_count": model.counts.executions,
        "inference_stats": {key: {"count": t.count, "ns": t.ns} for key, t in counted.items()},
    }


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def _config_tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "data_type": f"TYPE_{spec.datatype}", "dims": list(spec.shape)}
