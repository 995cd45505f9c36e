"""What the student is shown: source classes pasted on target images, and blocks left out."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from adapt.data.classes import IGNORE


class Lesson(NamedTuple):
    """Images, the labels they are to be given, and how much each pixel counts (0..1 or more)."""

    x: Float[Tensor, "n 3 h w"]
    y: UInt8[Tensor, "n h w"]
    w: Float[Tensor, "n h w"]


def half_of_classes(y: UInt8[Tensor, "n h w"]) -> Bool[Tensor, "n h w"]:
    """Where an image has one of a random half (rounded up) of its own classes; never where 255.

    Olsson et al., "ClassMix", WACV 2021; Tranheden et al., "DACS", WACV 2021.
    """
    chosen = torch.zeros(len(y), 256, dtype=torch.bool, device=y.device)
    for i, label in enumerate(y):
        classes = torch.unique(label)
        classes = classes[classes != IGNORE]
        order = torch.randperm(len(classes), device=classes.device)
        chosen[i, classes[order[: (len(classes) + 1) // 2]].long()] = True
    return torch.stack([found[label.long()] for found, label in zip(chosen, y, strict=True)])


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
