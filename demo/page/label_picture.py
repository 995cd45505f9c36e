"""A visitor's label picture: class ids or class colours, brought to the size of what is shown."""

from __future__ import annotations

import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from demo.page.segmentation import MOST_DECODED, Pixels, Size, resized
from export.bundle import Bundle
from serve.limits import Refusal
from serve.media.image_header import read_header

NO_CLASS = 255


def read_labels(data: bytes, bundle: Bundle, size: Size, coloured: bool = True) -> Pixels:
    """Class ids [h,w] at that size, 255 where there is none, from a PNG file.

    Grey and indexed pictures hold the ids themselves; of a coloured one every pixel has the colour
    of its class in the bundle's palette, or is no class; not `coloured`, its red is the id, as a
    browser's canvas gives it. Raises Refusal for another file, and where
    what is found are not this bundle's classes.
    """
    try:
        header = read_header(data, MOST_DECODED)
        if header.format != "PNG":
            raise Refusal(415, header.format)
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            grey = image.mode in ("L", "P", "I;16", "I", "1")
            found = np.asarray(image if grey else image.convert("RGB"))
        if not coloured and not grey:
            found, grey = found[..., 0], True
    except (Refusal, OSError, SyntaxError, ValueError) as error:
        raise Refusal(415, "The labels cannot be read: choose a whole PNG file of them.") from error
    ids = found if grey else _by_colour(found, bundle)
    _check(ids, bundle, grey)
    return resized(ids.astype(np.uint8), size, cv2.INTER_NEAREST)


def _by_colour(image: Pixels, bundle: Bundle) -> Pixels:
    ids = np.full(image.shape[:2], NO_CLASS, np.uint8)
    for i, colour in enumerate(bundle.palette):
        ids[(image == colour).all(2)] = i
    return ids


def _check(ids: NDArray[np.integer], bundle: Bundle, grey: bool) -> None:
    count = len(bundle.classes)
    wrong = ids[(ids >= count) & (ids != NO_CLASS)]
    if wrong.size:
        raise Refusal(
            422,
            f"The labels hold the class id {wrong.max()}; this bundle has 0 to {count - 1}, and "
            "255 is no class: bring the labels to its classes first.",
        )
    if (ids == NO_CLASS).all():
        what = "ids" if grey else "colours"
        raise Refusal(
            422, f"The labels hold none of this bundle's class {what}: is it the right file?"
        )
