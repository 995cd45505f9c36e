"""What the server says of its models: metadata, configuration, statistics, a page for people."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

from serve.admission import Tallies
from serve.engine import Engine
from serve.graph import Graph, TensorSpec
from serve.inference_protocol import ModelSpec

VERSION = "1"
EXTENSIONS = ["binary_tensor_data", "model_configuration", "model_repository", "statistics"]


def model_spec(graph: Graph) -> ModelSpec:
    """A graph as the protocol's model; there is one version."""
    return ModelSpec(graph.name, VERSION, graph.inputs, graph.outputs)


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


def statistics(models: Iterable[tuple[ModelSpec, Tallies]]) -> dict[str, Any]:
    """Triton's statistics of those models."""
    return {"model_stats": [_statistics(model, tallies) for model, tallies in models]}


def page(graphs: Sequence[Graph]) -> str:
    """HTML: how to call this server, the segmentor first, and the classes with their colours."""
    model, *others = graphs
    classes, palette = model.bundle.classes, model.bundle.palette
    drawn = "".join(
        f"""
<p>{other.about}:
<a href="/v2/models/{other.name}">/v2/models/{other.name}</a></p>"""
        for other in others
    )
    rows = "".join(
        f'<li><span style="background:rgb{tuple(colour)};padding:0 1em"></span> '
        f"{i} {html.escape(name)}</li>"
        for i, (name, colour) in enumerate(zip(classes, palette, strict=True))
    )
    return f"""<!doctype html><meta charset="utf-8"><title>{model.name}</title>
<h1>{model.name}</h1>
<p>A street-scene segmentor. Send it a JPEG or PNG image:</p>
<pre>curl -H Content-Type:image/jpeg --data-binary @street.jpg 'ADDRESS/segment?as=overlay'
     ?as=labels      PNG of class ids (the default)
     ?as=overlay     JPEG of the image under its class colours; &amp;format=png for a PNG
     ?as=confidence  PNG, 255 for certain
     ?as=json        each class, its colour and its share of the image</pre>
<p>Programs: Open Inference Protocol v2,
<a href="/v2/models/{model.name}">/v2/models/{model.name}</a>
(input: image, UINT8 [N,H,W,3], RGB).</p>{drawn}
<ol start="0" style="list-style:none">{rows}</ol>
"""


def _how(graph: Graph) -> dict[str, str]:
    how = {"precision": graph.precision, "provider": graph.provider}
    return how | ({"route": graph.route} if isinstance(graph, Engine) else {})


def _statistics(model: ModelSpec, tallies: Tallies) -> dict[str, Any]:
    infer = tallies.compute_infer
    counted = {f.name: getattr(tallies, f.name) for f in fields(tallies)}
    return {
        "name": model.name,
        "version": model.version,
        "last_inference": int(infer.last * 1000),
        "inference_count": infer.count,
        "execution_count": infer.count,
        "inference_stats": {key: {"count": t.count, "ns": t.ns} for key, t in counted.items()},
    }


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def _config_tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "data_type": f"TYPE_{spec.datatype}", "dims": list(spec.shape)}
