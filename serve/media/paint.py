"""Label maps made visible: colours, overlays, legends and shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Colour: TypeAlias = tuple[int, int, int]


def colourise(labels: NDArray[np.uint8], palette: Sequence[Colour]) -> NDArray[np.uint8]:
    """RGB [h,w,3] for class ids [h,w]; ids without a colour (255: ignored) become black."""
    table = np.zeros((1, 256, 3), np.uint8)
    table[0, : len(palette)] = palette
    # Ten times faster than indexing the palette with the labels.
    return cv2.LUT(cv2.merge([labels] * 3), table).astype(np.uint8, copy=False)


def overlay(
    image: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    palette: Sequence[Colour],
    alpha: float = 0.5,
) -> NDArray[np.uint8]:
    """The RGB image [h,w,3] under its class colours; `alpha` (0..1) is the colours' share."""
    blend = cv2.addWeighted(image, 1 - alpha, colourise(labels, palette), alpha, 0)
    return blend.astype(np.uint8, copy=False)


def class_shares(labels: NDArray[np.uint8], classes: Sequence[str]) -> dict[str, float]:
    """The share (0..1) of the pixels that each class has, in the classes' order."""
    counts = np.bincount(labels.ravel(), minlength=256)
    return {name: float(counts[i] / labels.size) for i, name in enumerate(classes)}


def legend(classes: Sequence[str], palette: Sequence[Colour], row: int = 24) -> NDArray[np.uint8]:
    """A white RGB picture with one line of `row` pixels a class: its colour and its name."""
    scale = row / 40
    sizes = [cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0] for name in classes]
    wide = 2 * row + max(width for width, _ in sizes) + row // 2
    picture = np.full((row * len(classes), wide, 3), 255, np.uint8)
    for i, (name, colour) in enumerate(zip(classes, palette, strict=True)):
        gap = row // 6
        picture[i * row + gap : (i + 1) * row - gap, gap : 2 * row - 2 * gap] = colour
        below = (2 * row, (i + 1) * row - row // 3)
        cv2.putText(picture, name, below, cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 1)
    return picture
