"""Paired transforms of an image and its label: resize, random scale, crop, mirror, colour, blur.

The window is drawn first, and only what lies in it is resized: the cost is the crop's, not the
image's. Random numbers come from torch's global generator, in the order of torchvision's transforms
(resize, RandomCrop, RandomHorizontalFlip, ColorJitter, GaussianBlur).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn.functional import grid_sample

from adapt.data.classes import IGNORE
from adapt.data.drawing.colours import RecolourBytes

Picture = UInt8[np.ndarray, "h w 3"]
Labels = UInt8[np.ndarray, "h w"]


class Window(NamedTuple):
    """The part of the resized image that a crop shows, and where it lies in the crop."""

    size: tuple[int, int]
    """(height, width) of the whole resized image"""
    top: int
    left: int
    height: int
    width: int
    at: tuple[int, int]
    """(row, column) in the crop of the part's first pixel"""


@dataclass(frozen=True, kw_only=True)
class Augment:
    """uint8 RGB image [h,w,3] and label [h,w] -> both of the size `crop`, still uint8.

    `strong` also gives the same crop with its colours and sharpness changed; the first then has
    its own. Outside the image a crop is black and ignored (255).
    """

    size: tuple[int, int] | None
    crop: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    colour_jitter: float = 0.0
    blur: float = 0.0
    flip: bool = True

    def __call__(
        self,
        image: Picture,
        *maps: Labels,
        strong: bool = False,
        restyle: Callable[[Picture], Picture] | None = None,
    ) -> tuple[UInt8[np.ndarray, "ch cw *c"], ...]:
        """Crops of the image and of the maps (nearest pixel), with `strong` a changed one last.

        `restyle` changes the image's crop before its colours are.
        """
        window = self._window((image.shape[0], image.shape[1]))
        crops = [self._placed(resized_part(image, window), window, 0)]
        crops += [self._placed(nearest_part(m, window), window, IGNORE) for m in maps]
        if float(torch.rand(1)) < (0.5 if self.flip else 0.0):
            crops = [np.ascontiguousarray(c[:, ::-1]) for c in crops]
        if restyle:
            crops[0] = restyle(crops[0])
        changed = RecolourBytes(self.colour_jitter, self.blur)(crops[0])
        return (*crops, changed) if strong else (changed, *crops[1:])

    @property
    def largest(self) -> tuple[int, int] | None:
        """The largest size that an image is resized to; None where that is its own's multiple."""
        if self.size is None:
            return None
        return round(self.size[0] * self.scale[1]), round(self.size[1] * self.scale[1])

    @property
    def only_size(self) -> tuple[int, int] | None:
        """The size that every image is resized to, None where they differ."""
        return self.size if self.scale == (1.0, 1.0) else None

    def _window(self, native: tuple[int, int]) -> Window:
        low, high = self.scale
        factor = low + (high - low) * float(torch.rand(()))
        height, width = (round(n * factor) for n in self.size or native)
        rows, columns = _span(height, self.crop[0]), _span(width, self.crop[1])
        at = (rows[2], columns[2])
        return Window((height, width), rows[0], columns[0], rows[1], columns[1], at)

    def _placed(
        self, part: UInt8[np.ndarray, "h w *c"], window: Window, outside: int
    ) -> UInt8[np.ndarray, "ch cw *c"]:
        if part.shape[:2] == self.crop:
            return np.array(part)  # what is kept in a cache stays as it is
        whole = np.full((*self.crop, *part.shape[2:]), outside, np.uint8)
        y, x = window.at
        whole[y : y + window.height, x : x + window.width] = part
        return whole


def resized_part(image: Picture, window: Window) -> UInt8[np.ndarray, "hh ww 3"]:
    """The window of the image resized as the deployed graph does it: bilinearly, half-pixel
    centres, no antialiasing; then rounded.
    """
    (height, width), top, left = window.size, window.top, window.left
    if image.shape[:2] == window.size:
        return image[top : top + window.height, left : left + window.width]
    sy, sx = image.shape[0] / height, image.shape[1] / width
    y0, y1 = _reached(top * sy, (top + window.height) * sy, image.shape[0])
    x0, x1 = _reached(left * sx, (left + window.width) * sx, image.shape[1])
    part = torch.from_numpy(image[y0:y1, x0:x1].astype(np.float32)).permute(2, 0, 1)[None]
    rows = _from_centre(window.height, top, sy, y0, y1 - y0)
    columns = _from_centre(window.width, left, sx, x0, x1 - x0)
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)[None]
    resized = grid_sample(part, grid, padding_mode="border", align_corners=False)
    return resized[0].round_().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def nearest_part(label: Labels, window: Window) -> UInt8[np.ndarray, "hh ww"]:
    """The window of the label resized to the pixel nearest to each centre: "nearest-exact"."""
    rows = _nearest(label.shape[0], window.size[0], window.top, window.height)
    columns = _nearest(label.shape[1], window.size[1], window.left, window.width)
    return label[rows[:, None], columns]


def resized_whole(image: Picture, size: tuple[int, int] | None) -> UInt8[np.ndarray, "hh ww 3"]:
    """The whole image at that size, as `resized_part` has it; as it is for None."""
    if size is None:
        return image
    return resized_part(image, Window(size, 0, 0, *size, (0, 0)))


def nearest_whole(label: Labels, size: tuple[int, int] | None) -> UInt8[np.ndarray, "hh ww"]:
    """The whole label at that size, as `nearest_part` has it; as it is for None."""
    if size is None:
        return label
    return nearest_part(label, Window(size, 0, 0, *size, (0, 0)))


def _span(length: int, crop: int) -> tuple[int, int, int]:
    """First pixel and length of the part, and where it lies in the crop, as RandomCrop draws it."""
    pad = max(crop - length, 0)
    padded = length + 2 * pad
    drawn = int(torch.randint(0, padded - crop + 1, size=())) if padded > crop else 0
    first, end = drawn - pad, drawn - pad + crop
    start = max(first, 0)
    return start, min(end, length) - start, start - first


def _reached(low: float, high: float, length: int) -> tuple[int, int]:
    """The pixels that interpolation from `low` to `high` can reach."""
    return max(math.floor(low) - 1, 0), min(math.ceil(high) + 1, length)


def _from_centre(count: int, first: int, scale: float, start: int, length: int) -> Tensor:
    """Where resized pixels lie in the part that starts there: -1 and 1 are its outer edges."""
    at = (torch.arange(first, first + count, dtype=torch.float64) + 0.5) * scale - start
    return (2 * at / length - 1).float()


def _nearest(small: int, large: int, first: int, count: int) -> np.ndarray:
    at = (np.arange(first, first + count, dtype=np.float32) + 0.5) * np.float32(small / large)
    return np.minimum(at.astype(np.int64), small - 1)
