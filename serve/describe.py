"""What the server says of its model: metadata, configuration, statistics, a page for people."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from typing import Any

from serve.admission import Tally
from serve.engine import Engine, TensorSpec
from serve.inference_protocol import ModelSpec

VERSION = "1"
EXTENSIONS = ["binary_tensor_data", "model_configuration", "model_repository", "statistics"]


def model_spec(engine: Engine) -> ModelSpec:
    """The model's name is the bundle's; there is one version."""
    return ModelSpec(engine.bundle.name, VERSION, engine.inputs, engine.outputs)


def metadata(model: ModelSpec) -> dict[str, Any]:
    """The protocol's model metadata."""
    return {
        "name": model.name,
        "versions": [model.version],
        "platform": "onnx_onnxv1",
        "inputs": [_tensor(spec) for spec in model.inputs],
        "outputs": [_tensor(spec) for spec in model.outputs],
    }


def config(engine: Engine) -> dict[str, Any]:
    """Triton's model configuration, with the classes and their colours as parameters."""
    bundle = engine.bundle
    parameters = {"classes": bundle.classes, "palette": bundle.palette}
    return {
        "name": bundle.name,
        "platform": "onnxruntime_onnx",
        "backend": "onnxruntime",
        "max_batch_size": 0,
        "input": [_config_tensor(spec) for spec in engine.inputs],
        "output": [_config_tensor(spec) for spec in engine.outputs],
        "parameters": {
            key: {"string_value": json.dumps(value)} for key, value in parameters.items()
        },
    }


def statistics(model: ModelSpec, tallies: Mapping[str, Tally]) -> dict[str, Any]:
    """Triton's statistics; `tallies`: success, fail, queue, compute_infer."""
    infer = tallies["compute_infer"]
    return {
        "model_stats": [
            {
                "name": model.name,
                "version": model.version,
                "last_inference": int(infer.last * 1000),
                "inference_count": infer.count,
                "execution_count": infer.count,
                "inference_stats": {
                    key: {"count": tally.count, "ns": tally.ns} for key, tally in tallies.items()
                },
            }
        ]
    }


def page(model: ModelSpec, classes: tuple[str, ...], palette: Any) -> str:
    """HTML: how to call this server, and the classes with their colours."""
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
(input: image, UINT8 [N,H,W,3], RGB).</p>
<ol start="0" style="list-style:none">{rows}</ol>
"""


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def _config_tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "data_type": f"TYPE_{spec.datatype}", "dims": list(spec.shape)}
