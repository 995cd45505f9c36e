"""POST /segment, described."""

from __future__ import annotations

from typing import Any

from serve.http.openapi.parts import JSON, WITH_BODY, answer, examples, operation, parameter
from serve.http.openapi.schemas import (
    BYTES,
    MICROSECONDS,
    PRIORITY,
    TEXT,
    Schema,
    listed,
    record,
    ref,
)
from serve.http.segment import FORMATS, LONGEST_NUMBER
from serve.media.answers import KINDS
from serve.models.service import Service

IMAGES = ("image/jpeg", "image/png", "image/webp")
PRODUCTS = {
    "labels": "PNG of class ids, at the image's size",
    "overlay": "the image under its class colours, JPEG or PNG",
    "confidence": "PNG, the largest softmax probability times 255",
    "json": "each class, its colour and its share of the image",
    "geojson": "a polygon for each connected region (RFC 7946), in pixels",
}


def segment_images(service: Service) -> dict[str, Any]:
    """The operation, with the limits and the class ids of the service's bundles."""
    pictures = {"image/png": BYTES, "image/jpeg": BYTES, "application/zip": BYTES}
    numbers = {JSON: ref("Segmented"), "application/geo+json": ref("Polygons")}
    timing = {"Server-Timing": {"schema": TEXT, "description": "decode and engine, milliseconds"}}
    score = "of a self-check: standard deviations above usual frames, of each image"
    timing["Monitor-Score"] = {"schema": TEXT, "description": score}
    why = "What was asked for; of several images or products a ZIP file."
    answered = answer(why, pictures | numbers, timing)
    return operation("Segment images", answered, *WITH_BODY, 404, 504) | {
        "description": _classes(service),
        "parameters": _parameters(service),
        "requestBody": _body(service),
    }


def _parameters(service: Service) -> list[dict[str, Any]]:
    kinds: Schema = {"type": "string", "enum": [*KINDS]}
    said = "; ".join(f"`{kind}`: {what}" for kind, what in PRODUCTS.items())
    names = [model.spec.name for model in service.catalogue.segmentors]
    checked = any(map(service.monitor.can_check, service.catalogue.segmentors))
    monitor: Schema = {"type": "integer", "enum": [0, 1] if checked else [0]}
    timeout = {**MICROSECONDS, "maximum": 10**LONGEST_NUMBER - 1}
    return [
        parameter(
            "query",
            "as",
            listed(kinds, minItems=1, default=["labels"]),
            style="form",
            explode=False,
            description=said,
        ),
        parameter(
            "query",
            "format",
            {"type": "string", "enum": [*FORMATS]},
            description="of an overlay; the other pictures are PNG",
        ),
        parameter("query", "model", TEXT, examples=examples(names), description="else the first"),
        parameter("query", "monitor", monitor, description="1: with a self-check of each image"),
        parameter("query", "priority", PRIORITY, description="1: before others that wait"),
        parameter("query", "timeout", timeout, description="microseconds; 0: none"),
    ]


def _body(service: Service) -> dict[str, Any]:
    limits = service.limits
    form = record(image=listed(BYTES, minItems=1))
    plain = {kind: {"schema": BYTES} for kind in (*IMAGES, "application/octet-stream")}
    parts = {"image": {"contentType": ", ".join(IMAGES)}}
    return {
        "required": True,
        "description": f"An image, or a form with up to 64 of them: {limits.body_bytes} bytes at "
        f"most, {limits.pixels} pixels together.",
        "content": {**plain, "multipart/form-data": {"schema": form, "encoding": parts}},
    }


def _classes(service: Service) -> str:
    """The ids in a label PNG, of each bundle."""
    return "\n\n".join(
        f"Class ids of `{model.spec.name}`: "
        + ", ".join(f"{i} {name}" for i, name in enumerate(model.graph.bundle.classes))
        for model in service.catalogue.segmentors
    )
