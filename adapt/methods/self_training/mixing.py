"""What the student is shown: source classes pasted on target images, and blocks left out."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from adapt.data.drawing.class_mix import half_of_classes


class Lesson(NamedTuple):
    """Images, the labels they are to be given, and how much each pixel counts (0..1 or more)."""

    x: Float[Tensor, "n 3 h w"]
    y: UInt8[Tensor, "n h w"]
    w: Float[Tensor, "n h w"]


def class_mix(source: Lesson, target: Lesson) -> Lesson:
    """Half of the classes of every source image, with labels and weights, over a target image."""
    pasted = half_of_classes(source.y)
    return Lesson(
        torch.where(pasted[:, None], source.x, target.x),
        torch.where(pasted, source.y, target.y),
        torch.where(pasted, source.w, target.w),
    )


def masked(x: Float[Tensor, "n 3 h w"], share: float, block: int) -> Float[Tensor, "n 3 h w"]:
    """The images with a random `share` of blocks of `block` pixels in the image's mean colour.

    After Hoyer et al., "MIC", CVPR 2023.
    """
    n, _, h, w = x.shape
    grid = (n, 1, -(-h // block), -(-w // block))
    kept = (torch.rand(grid, device=x.device) >= share).to(x.dtype)
    kept = interpolate(kept, scale_factor=block, mode="nearest")[:, :, :h, :w]
    return x * kept + x.mean((2, 3), keepdim=True) * (1 - kept)
