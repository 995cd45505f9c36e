"""What a segmentor's backbone makes of images: pooled, and at single positions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from adapt.checkpoint import RunInfo
from adapt.data.datasets import Images, LabelledImages
from adapt.data.drawing.augment import nearest_whole
from adapt.evaluation.evaluate import evaluating, looked_at
from adapt.networks.segmentor import Segmented, Segmentor
from adapt.run import parse_size
from roadshift import UserError

POSITIONS = 40
"""of each image, evenly spaced"""


class Sizes(NamedTuple):
    """(height, width) at which a run saw the images of its cities; None: their own."""

    source: tuple[int, int] | None
    target: tuple[int, int] | None


def sizes_of(info: RunInfo) -> Sizes:
    """Those of training."""
    asked = str(info.settings.get("source_size", ""))
    return Sizes(parse_size(asked, "source-size"), info.work_size)


class PixelFeatures(NamedTuple):
    """Of some positions: features, and the class of each (255: none)."""

    features: Float[Tensor, "n k"]
    labels: UInt8[Tensor, " n"]


def pooled(
    segmentor: Segmentor, images: Images, which: list[int], size: tuple[int, int] | None
) -> Float[Tensor, "n k"]:
    """The mean over positions of the embedding (section 5.4), a row an image; on the CPU."""
    return torch.stack([
        seen(segmentor, images, i, size).features[0].mean((1, 2)).float().cpu() for i in which
    ])  # fmt: skip


def of_pixels(
    segmentor: Segmentor,
    images: Images | LabelledImages,
    which: list[int],
    size: tuple[int, int] | None,
) -> PixelFeatures:
    """The embedding at some positions, with their true classes, or where there is no truth those
    that the segmentor predicts."""
    found: list[Tensor] = []
    labels: list[Tensor] = []
    for i in which:
        out = seen(segmentor, images, i, size)
        z = out.features[0]
        shape = (z.shape[1], z.shape[2])
        if isinstance(images, LabelledImages):
            label = torch.from_numpy(nearest_whole(images.label(i), shape))
        else:
            label = interpolate(out.logits, shape, mode="bilinear")[0].argmax(0).byte().cpu()
        some = np.linspace(0, label.numel() - 1, min(POSITIONS, label.numel())).astype(int)
        found.append(z.flatten(1).T[torch.from_numpy(some).to(z.device)].float().cpu())
        labels.append(label.flatten()[some])
    return PixelFeatures(torch.cat(found), torch.cat(labels))


def seen(
    segmentor: Segmentor, images: Images | LabelledImages, i: int, size: tuple[int, int] | None
) -> Segmented:
    """What it makes of image i; UserError for a network that does not say its features."""
    device = next(segmentor.parameters()).device
    with evaluating(segmentor):
        out = looked_at(segmentor, torch.from_numpy(images.image(i))[None].to(device), size)
    if not out.features.numel():
        raise UserError(
            f"{type(segmentor).__name__} does not say what its backbone saw: a run that deploys "
            "several segmentors has no one embedding; distill it, or take a run of one"
        )
    return out
