"""A golden frame as a client sends it, through the code that serves: file in, label PNG out.

What the decoder and the encoder do is held against Pillow, which has no part in serving.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from export.bundle.golden import Golden, png
from roadshift import Failure
from serve.media.codec import decode, encode_png
from serve.runtime.engine import Engine

LEVELS = 2.0
"""In levels of 255, the mean: decoders may round otherwise, and swap nothing."""


def check_bytes(engine: Engine) -> None:
    """The first golden frame from PNG bytes to PNG bytes.

    Raises Failure where a PNG, JPEG or WebP is decoded otherwise than by Pillow, or the labels are
    not those in the PNG that is answered. Whether they are torch's, `Engine.reproduce` says.
    """
    golden = engine.bundle.golden()[0]
    decoded = decode(png(golden.image))
    if not np.array_equal(decoded, golden.image):
        raise Failure("the decoder makes other pixels of a PNG than Pillow: install another OpenCV")
    for kind in ("JPEG", "WEBP") if features.check("webp") else ("JPEG",):
        _check_decoder(golden, kind)
    labels = engine.segment(decoded[None]).labels[0]
    if not np.array_equal(_pixels(encode_png(labels), "L"), labels):
        raise Failure(
            "the label PNG that is answered holds other labels than the engine gave: install "
            "another OpenCV"
        )


def _check_decoder(golden: Golden, kind: str) -> None:
    file = io.BytesIO()
    Image.fromarray(golden.image).save(file, format=kind, quality=95)
    data = file.getvalue()
    found, wanted = decode(data), _pixels(data, "RGB")
    off = np.abs(found.astype(np.int16) - wanted).mean() if found.shape == wanted.shape else np.inf
    if not off <= LEVELS:
        raise Failure(
            f"the decoder makes other pixels of a {kind} than Pillow (off by {off:.1f} of 255 on "
            "average): its channels are swapped, or it is broken; install another OpenCV"
        )


def _pixels(data: bytes, mode: str) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert(mode))
