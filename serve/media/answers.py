"""A segmented image in the form that was asked for: maps, pictures, numbers, polygons."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from export.bundle import Bundle
from serve.media.codec import encode_jpeg, encode_png
from serve.media.paint import class_shares, overlay
from serve.media.polygons import polygons

KINDS = ("labels", "overlay", "confidence", "json", "geojson")
JSON = "application/json"
_ENDINGS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    JSON: "json",
    "application/geo+json": "geojson",
}


class ImageAnswer(NamedTuple):
    """An image uint8 [h,w,3], and of it uint8 [h,w]: class ids, and the confidence where asked."""

    name: str
    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    confidence: NDArray[np.uint8] | None


class File(NamedTuple):
    """What is handed out."""

    media_type: str
    content: bytes


def answer(
    kind: str, picture: str, one: ImageAnswer, bundle: Bundle, more: dict[str, Any] | None = None
) -> File:
    """`one` as one of KINDS; an overlay is a `picture` of "jpeg" or "png". `more` goes into JSON.

    The confidence must be there where it is what is asked for.
    """
    if kind == "json":
        return _json(JSON, _numbers(bundle, one.labels) | (more or {}))
    if kind == "geojson":
        features = polygons(one.labels, bundle.classes, 1.0)
        document = {"type": "FeatureCollection", "features": features}
        return _json("application/geo+json", document)
    if kind == "overlay":
        blend = overlay(one.image, one.labels, bundle.palette)
        if picture == "jpeg":
            return File("image/jpeg", encode_jpeg(blend))
        return File("image/png", encode_png(blend))
    values = one.labels if kind == "labels" else one.confidence
    assert values is not None
    return File("image/png", encode_png(values))


def in_one_file(files: Iterable[tuple[str, str, File]]) -> File:
    """Several answers (image, kind, content) as a ZIP file of IMAGE.KIND.ENDING, IMAGE.json,
    IMAGE.geojson."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as packed:
        for name, kind, file in files:
            ending = _ENDINGS[file.media_type]
            full = name if kind == ending else f"{name}.{kind}"
            packed.writestr(f"{full}.{ending}", file.content)
    return File("application/zip", whole.getvalue())


def _json(media_type: str, document: dict[str, Any]) -> File:
    return File(media_type, json.dumps(document, separators=(",", ":")).encode())


def _numbers(bundle: Bundle, labels: NDArray[np.uint8]) -> dict[str, Any]:
    shares = class_shares(labels, bundle.classes)
    return {
        "model": bundle.name,
        "size": {"height": labels.shape[0], "width": labels.shape[1]},
        "classes": [
            {"id": i, "name": name, "color": list(colour), "share": shares[name]}
            for i, (name, colour) in enumerate(zip(bundle.classes, bundle.palette, strict=True))
        ],
    }
