"""From an image to what the demo page shows of it; knows no browser."""

from __future__ import annotations

import time
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from demo.html_parts import size_text
from export.bundle import Bundle
from serve.media.paint import overlay
from serve.runtime.engine import Engine

Pixels = NDArray[np.uint8]

# A browser gains nothing from more, and every repaint sends the picture as a PNG.
MAX_SIDE = 1600
UNSURE = 128


class SegmentedImage(NamedTuple):
    """One segmented image: RGB [h,w,3], labels [h,w], confidence [h,w] (255 is sure), a note."""

    image: Pixels
    labels: Pixels
    confidence: Pixels
    note: str


def segment(engine: Engine, bundle: Bundle, image: Pixels) -> SegmentedImage:
    """Segments an RGB image [h,w,3]; a bundle of one fixed size gets the image resized to it.

    Raises UserError where the engine does, for an image that is too small.
    """
    found = (image.shape[0], image.shape[1])
    note = f"{size_text(found)} pixels"
    if bundle.size is not None and bundle.size != found:
        image = resized(image, bundle.size, cv2.INTER_AREA)
        note += f", resized to {size_text(bundle.size)}, the only size this segmentor takes"
    start = time.perf_counter()
    answer = engine.segment(image[None], confidence=True)
    milliseconds = 1000 * (time.perf_counter() - start)
    if answer.confidence is None:
        raise RuntimeError("the engine left out the confidence it was asked for")
    confidence = answer.confidence[0]
    note += (
        f" · segmented in {milliseconds:.0f} ms · confidence {100 * confidence.mean() / 255:.0f} % "
        f"in the mean, under 50 % on {100 * (confidence < UNSURE).mean():.1f} % of the pixels"
    )
    return SegmentedImage(image, answer.labels[0], confidence, note)


def painted(shown: SegmentedImage, bundle: Bundle, opacity: float) -> Pixels:
    """The image with the class colours over it, `opacity` 0..1, at most MAX_SIDE on a side."""
    size = _display_size(shown)
    image = resized(shown.image, size, cv2.INTER_AREA)
    labels = resized(shown.labels, size, cv2.INTER_NEAREST)
    return overlay(image, labels, bundle.palette, opacity)


def heat(shown: SegmentedImage) -> Pixels:
    """The confidence as colours, dark blue (a guess) to yellow (sure), RGB [h,w,3]."""
    small = resized(shown.confidence, _display_size(shown), cv2.INTER_AREA)
    return viridis(small)


def heat_scale() -> list[tuple[int, int, int]]:
    """Eleven RGB colours of `heat`, from confidence 0 to 1."""
    steps = np.linspace(0, 255, 11).round().astype(np.uint8)[None]
    return [(int(r), int(g), int(b)) for r, g, b in viridis(steps)[0]]


def viridis(values: Pixels) -> Pixels:
    """Dark blue (0) to yellow (255): RGB [h,w,3] for uint8 [h,w]."""
    bgr = cv2.applyColorMap(values, cv2.COLORMAP_VIRIDIS)
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def _display_size(shown: SegmentedImage) -> tuple[int, int]:
    height, width = shown.labels.shape
    scale = min(1.0, MAX_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def resized(pixels: Pixels, size: tuple[int, int], how: int) -> Pixels:
    """The picture at that (height, width); `how` is OpenCV's interpolation."""
    if pixels.shape[:2] == size:
        return pixels
    return cv2.resize(pixels, size[::-1], interpolation=how).astype(np.uint8, copy=False)
