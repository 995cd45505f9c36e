"""Paired transforms of an image and its label: resize, random scale, crop, mirror, colour, blur."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from adapt.data.classes import IGNORE


@dataclass(frozen=True, kw_only=True)
class Augment:
    """uint8 RGB image [h,w,3] and label [h,w] -> image [3,*crop] and label [*crop], still uint8.

    Randomness is torch's global generator: seed it for each draw. Outside the image a crop is
    black and ignored (255).
    """

    size: tuple[int, int] | None
    crop: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    colour_jitter: float = 0.0
    blur: float = 0.0
    flip: bool = True

    def __call__(
        self, image: UInt8[np.ndarray, "h w 3"], label: UInt8[np.ndarray, "h w"] | None
    ) -> tuple[UInt8[Tensor, "3 ch cw"], UInt8[Tensor, "ch cw"] | None]:
        x = tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1))
        y = None if label is None else tv_tensors.Mask(torch.from_numpy(label))
        x, y = self._resized(x, y)
        for transform in self._transforms():
            x, y = transform(x, y)
        return x.as_subclass(Tensor), None if y is None else y.as_subclass(Tensor)

    def _resized(
        self, x: tv_tensors.Image, y: tv_tensors.Mask | None
    ) -> tuple[Tensor, Tensor | None]:
        low, high = self.scale
        factor = low + (high - low) * float(torch.rand(()))
        height, width = self.size or (x.shape[-2], x.shape[-1])
        size = [round(height * factor), round(width * factor)]
        if size == list(x.shape[-2:]):
            return x, y
        return functional.resize(x, size), None if y is None else functional.resize(y, size)

    def _transforms(self) -> Sequence[v2.Transform]:
        fill: dict[type | str, Any] = {tv_tensors.Image: 0, tv_tensors.Mask: IGNORE}
        s = self.colour_jitter
        return [
            v2.RandomCrop(self.crop, pad_if_needed=True, fill=fill),
            v2.RandomHorizontalFlip(0.5 if self.flip else 0.0),
            *colours(s, self.blur),
        ]


def colours(jitter: float, blur: float) -> Sequence[v2.Transform]:
    """What changes an image's colours and sharpness, and leaves every pixel in its place."""
    s = jitter
    return [
        v2.ColorJitter(s, s, s, s / 4),
        v2.RandomApply([v2.GaussianBlur(5, (0.2, 1.2))], p=blur),
    ]


class Recolour:
    """The same changes of colour, on a batch on the device: every image gets its own.

    For methods that need the image also as it was. Randomness is torch's global generator.
    """

    def __init__(self, jitter: float, blur: float) -> None:
        self.change = v2.Compose(colours(jitter, blur))

    def __call__(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
        """RGB in [0, 1] in and out."""
        with torch.autocast(x.device.type, enabled=False):
            return torch.stack([self.change(image) for image in x])
