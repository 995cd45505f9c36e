"""Random changes of colour and sharpness, for images in the loader and for batches on the device.

Both draw their numbers by torchvision's ColorJitter and GaussianBlur, from torch's global
generator. A loader's image is uint8 and changed by tables and OpenCV: several times as fast as
torchvision's arithmetic, each change within one grey level of it, all four mostly within one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import v2

Picture = UInt8[np.ndarray, "h w 3"]
GREY = np.array([[0.2989, 0.587, 0.114]], np.float32)
"""ITU-R BT.601, as torchvision has it"""
TRUNCATED = -0.498
"""added where OpenCV rounds and torchvision cuts off"""


def colours(jitter: float, blur: float) -> Sequence[v2.Transform]:
    """What changes an image's colours and sharpness, and leaves every pixel in its place."""
    s = jitter
    return [
        v2.ColorJitter(s, s, s, s / 4),
        v2.RandomApply([v2.GaussianBlur(5, (0.2, 1.2))], p=blur),
    ]


class Recolour:
    """A batch on the device: every image gets its own colours.

    For methods that need the image also as it was. Randomness is torch's global generator.
    """

    def __init__(self, jitter: float, blur: float) -> None:
        self.change = v2.Compose(colours(jitter, blur))

    def __call__(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
        """RGB in [0, 1] in and out."""
        with torch.autocast(x.device.type, enabled=False):
            return torch.stack([self.change(image) for image in x])


class RecolourBytes:
    """A single image in the loader, the same random numbers, in the same order."""

    def __init__(self, jitter: float, blur: float) -> None:
        self.jitter, self.blur = jitter, blur

    @cached_property
    def _drawn_by(self) -> tuple[v2.ColorJitter, v2.GaussianBlur]:
        s = self.jitter
        return v2.ColorJitter(s, s, s, s / 4), v2.GaussianBlur(5, (0.2, 1.2))

    def __call__(self, image: Picture) -> Picture:
        """RGB bytes in and out."""
        jitter, blur = self._drawn_by
        drawn = jitter.make_params([])
        factors = [drawn[f"{name}_factor"] for name in CHANGES]
        changes = list(CHANGES.values())
        for i in drawn["fn_idx"].tolist():
            if factors[i] is not None:
                image = changes[i](image, float(factors[i]))
        if float(torch.rand(1)) < self.blur:
            sigma = float(blur.make_params([])["sigma"][0])
            image = cv2.GaussianBlur(image, (5, 5), sigma).astype(np.uint8, copy=False)
        return image


def brightness(image: Picture, factor: float) -> Picture:
    """Every value times `factor`."""
    return _by_table(image, np.arange(256, dtype=np.float32) * factor)


def contrast(image: Picture, factor: float) -> Picture:
    """Away from the image's mean grey (above 1), or towards it."""
    mean = float(np.floor(_grey(image)).mean())
    return _by_table(image, np.arange(256, dtype=np.float32) * factor + mean * (1 - factor))


def saturation(image: Picture, factor: float) -> Picture:
    """Away from each pixel's grey (above 1), or towards it."""
    grey = cv2.cvtColor(_grey(image).astype(np.uint8), cv2.COLOR_GRAY2RGB)
    changed = cv2.addWeighted(image, factor, grey, 1 - factor, TRUNCATED)
    return changed.astype(np.uint8, copy=False)


def hue(image: Picture, turn: float) -> Picture:
    """The hue turned by -0.5..0.5 of the circle."""
    hsv = cv2.cvtColor(image.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2HSV)
    angle = cv2.extractChannel(hsv, 0) + np.float32(360 * turn)
    angle -= 360 * np.floor(angle / 360)
    turned = cv2.cvtColor(cv2.insertChannel(angle, hsv, 0), cv2.COLOR_HSV2RGB)
    return cv2.convertScaleAbs(turned, alpha=255.999, beta=TRUNCATED).astype(np.uint8, copy=False)


CHANGES: dict[str, Callable[[Picture, float], Picture]] = {
    "brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue,
}  # fmt: skip
"""In the order in which ColorJitter counts them."""


def _grey(image: Picture) -> NDArray[np.float32]:
    return np.asarray(cv2.transform(image.astype(np.float32), GREY), np.float32)


def _by_table(image: Picture, table: NDArray[np.float32]) -> Picture:
    return cv2.LUT(image, table.clip(0, 255).astype(np.uint8)).astype(np.uint8, copy=False)
