"""Pictures of what a segmentor sees: image | prediction (| truth), as PNG strips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from adapt.data.classes import IGNORE, Colour

Palette = Sequence[Colour]
Picture = UInt8[np.ndarray, "h w 3"]


def overlay(
    image: UInt8[np.ndarray, "h w 3"],
    label: UInt8[np.ndarray, "h w"],
    palette: Palette,
    strength: float = 0.6,
) -> UInt8[np.ndarray, "h w 3"]:
    """The image tinted with the colours of its classes; ignored pixels stay as they are."""
    colours = np.zeros((256, 3), np.float32)
    colours[: len(palette)] = palette
    tinted = (image * (1 - strength) + colours[label] * strength).astype(np.uint8)
    return np.where((label == IGNORE)[..., None], image, tinted)


def strip(
    image: UInt8[np.ndarray, "h w 3"], maps: list[UInt8[np.ndarray, "h w"]], palette: Palette
) -> UInt8[np.ndarray, "h ww 3"]:
    """The image and, beside it, the image under each coloured label map."""
    overlays = [overlay(image, m, palette) for m in maps]
    return np.concatenate([image, *overlays], axis=1)


def write_png(path: Path, image: UInt8[np.ndarray, "h w 3"]) -> None:
    """Write an RGB picture, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(image))


def png(image: UInt8[np.ndarray, "h w *c"]) -> bytes:
    """An RGB picture, or a map of one byte a pixel, as a PNG file."""
    ok, data = cv2.imencode(".png", image[:, :, ::-1] if image.ndim == 3 else image)
    assert ok
    return data.tobytes()
