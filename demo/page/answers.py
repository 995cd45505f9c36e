"""A visitor's picture in, what the page's scripts show of it out, as values for JSON."""

from __future__ import annotations

import base64
import json
from typing import Any

from demo.page.label_picture import read_labels
from demo.page.reconstruction import rebuild
from demo.page.segmentation import (
    At,
    SegmentedImage,
    Segmenting,
    advice,
    note,
    open_picture,
    segment,
)
from serve.limits import Refusal
from serve.media.codec import encode_jpeg, encode_png
from serve.runtime.image_graphs import ImageGraph


def segmented(engine: Segmenting, body: bytes, at: At) -> dict[str, Any]:
    """Picture, labels and confidence of one size, and what to say of them; see `segment`."""
    picture = open_picture(body)
    shown: SegmentedImage = segment(engine, picture, at)
    height, width = picture.size
    return {
        "height": height,
        "width": width,
        "image": address("jpeg", encode_jpeg(picture.image)),
        "labels": address("png", encode_png(shown.labels)),
        "confidence": address("png", encode_png(shown.confidence)),
        "note": note(picture, shown),
        "advice": advice(engine.bundle, picture),
        "milliseconds": shown.milliseconds,
    }


def redrawn(reconstructor: ImageGraph, body: bytes) -> dict[str, str]:
    """What is drawn of the labels in the body, and where it disagrees; Refusal for another body."""
    try:
        values = json.loads(body)
        image, labels = (_content(values[name]) for name in ("image", "labels"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refusal(400, "wanted JSON with an image and labels, both data: addresses") from error
    picture = open_picture(image).image
    size = picture.shape[0], picture.shape[1]
    rebuilt = rebuild(
        reconstructor, picture, read_labels(labels, reconstructor.bundle, size, False)
    )
    return {
        "drawing": address("jpeg", encode_jpeg(rebuilt.drawing)),
        "difference": address("png", encode_png(rebuilt.difference)),
    }


def _content(data_address: str) -> bytes:
    """The bytes in a data: address."""
    return base64.b64decode(data_address.partition("base64,")[2], validate=True)


def address(kind: str, content: bytes) -> str:
    """A picture's bytes as a data: address."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
