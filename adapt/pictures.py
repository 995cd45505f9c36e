"""Pictures of what a segmentor sees: image | prediction (| truth), as PNG strips."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

Palette = tuple[tuple[int, int, int], ...]


def coloured(labels: UInt8[np.ndarray, "h w"], palette: Palette) -> UInt8[np.ndarray, "h w 3"]:
    """The label map in its classes' colours (RGB); 255 and other unknown ids are black."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = palette
    return table[labels]


def strip(
    image: UInt8[np.ndarray, "h w 3"], maps: list[UInt8[np.ndarray, "h w"]], palette: Palette
) -> UInt8[np.ndarray, "h ww 3"]:
    """The image and, beside it, the image under each coloured label map."""
    overlays = [cv2.addWeighted(image, 0.4, coloured(m, palette), 0.6, 0.0) for m in maps]
    return np.concatenate([image, *overlays], axis=1)


def write_png(path: Path, image: UInt8[np.ndarray, "h w 3"]) -> None:
    """Write an RGB picture, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ok, data = cv2.imencode(".png", image[:, :, ::-1])
    assert ok
    path.write_bytes(data.tobytes())
