"""What the server says of its models: metadata, configuration, statistics, a page for people."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from roadshift import __version__
from serve.models.catalogue import Catalogue, Model
from serve.models.metrics import ModelMetrics
from serve.protocol.json_checks import refuse, short
from serve.runtime.engine import Engine
from serve.runtime.graph import Graph, TensorSpec

UNLOADS_WITH = ("unload_dependents",)
"""What Triton's clients always say with an unload; a bundle's graphs go together anyway."""

EXTENSIONS = ["binary_tensor_data", "model_configuration", "model_repository", "statistics"]


def metadata(model: Model) -> dict[str, Any]:
    """The protocol's model metadata, and beside it what the model runs in."""
    graph = model.graph
    return {
        "name": graph.name,
        "versions": [model.spec.version],
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


def index(
    catalogue: Catalogue, unready: str | None, *, ready: bool = False
) -> list[dict[str, str]]:
    """Triton's index of the repository; `unready` is why the models are not ready, or None.

    With `ready` only what is.
    """
    shared = {"state": "UNAVAILABLE" if unready else "READY", "reason": unready or ""}
    specs = [model.spec for model in catalogue.models.values()]
    found = [{"name": spec.name, "version": spec.version, **shared} for spec in specs]
    gone = {"state": "UNAVAILABLE", "reason": "unloaded"}
    found += [{"name": name, "version": last, **gone} for name, last in catalogue.unloaded.items()]
    return [entry for entry in found if not ready or entry["state"] == "READY"]


def check_parameters(given: Iterable[str], known: Iterable[str]) -> None:
    """Raises Refusal 400 for parameters of a load or an unload that this server does not take."""
    if strange := sorted(set(given) - set(known)):
        refuse(
            f"parameter {short(strange[0])} is not taken: a model is loaded as it is in the folder "
            "that the server was started with"
        )


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
