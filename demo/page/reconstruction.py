"""The image redrawn from the predicted labels, and where it disagrees with the input.

The reconstructor draws in the colours of the source city, and those are no mistake of the labels:
before the two are compared, each colour channel of the drawing gets the mean and the deviation that
the channel has in the input. The disagreement is then the mean absolute difference of the three
channels, in grey levels of 0..255, smoothed by a box about 1/32 of the height wide.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from demo.page.segmentation import Pixels, Size, resized
from export.bundle import Bundle
from serve.runtime.image_graphs import ImageGraph

# The network works at full size, and a browser shows a quarter of the page's width.
MAX_SIDE = 1024
TOP = 96
"""The disagreement that gets the last colour of the scale, and so does all that is more."""


class Rebuilt(NamedTuple):
    """What is drawn, RGB [h,w,3], and its disagreement with the input [h,w]; 255 is TOP."""

    drawing: Pixels
    difference: Pixels


def rebuild(reconstructor: ImageGraph, image: Pixels, labels: Pixels) -> Rebuilt:
    """What is drawn of labels [h,w], and where it disagrees with the RGB image [h,w,3].

    At most MAX_SIDE on a side, unless the bundle has one size. Raises Failure as the engine does.
    """
    size = _size(reconstructor.bundle, (labels.shape[0], labels.shape[1]))
    image = resized(image, size, cv2.INTER_AREA)
    labels = resized(labels, size, cv2.INTER_NEAREST)
    drawing = reconstructor.draw(labels[None])[0]
    scaled = disagreement(image, drawing).astype(np.float32) * (255 / TOP)
    return Rebuilt(drawing, scaled.clip(0, 255).round().astype(np.uint8))


def disagreement(image: Pixels, drawing: Pixels) -> Pixels:
    """Grey levels (0..255) that separate two RGB images [h,w,3] at each place [h,w].

    Differences that a shift and a scaling of a colour channel can explain do not count.
    """
    apart = np.abs(image.astype(np.float32) - matched(drawing, image)).mean(2)
    side = max(1, round(image.shape[0] / 32))
    smooth = cv2.blur(apart, (side, side), borderType=cv2.BORDER_REFLECT)
    return smooth.round().astype(np.uint8)


def matched(drawing: Pixels, image: Pixels) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """The drawing with each channel's mean and deviation as in the image; float32 [h,w,3]."""
    values = drawing.astype(np.float32)
    mean, deviation = values.mean((0, 1)), values.std((0, 1))
    scale = image.std((0, 1)) / np.maximum(deviation, 1)  # one grey: only its mean is moved
    moved = (values - mean) * scale + image.mean((0, 1))
    return moved.clip(0, 255).astype(np.float32)


def _size(bundle: Bundle, found: Size) -> Size:
    """(height, width) at which is drawn: the reconstructor takes it."""
    height, width = found
    if bundle.size is not None:
        return bundle.size
    scale = min(1.0, MAX_SIDE / max(height, width))
    least_height, least_width = bundle.min_size
    return max(least_height, round(height * scale)), max(least_width, round(width * scale))
