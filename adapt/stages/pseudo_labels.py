"""Pseudo labels of a whole set of images, by class-wise confidence thresholds.

The rule is BDL's (Li, Yuan, Vasconcelos, CVPR 2019), from which label-driven reconstruction takes
it: a pixel keeps its class if its confidence is at least the median of that class over the set, or
0.9 where the median is higher. BDL sorts all confidences of the set in memory (25 GB for
Cityscapes); here they are counted in fixed bins, and the images are segmented twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from adapt.data.classes import IGNORE
from adapt.networks.upsampling import full_size

BINS = 10_000
"""The threshold is at most this fraction too low."""


class Confident(NamedTuple):
    """The most probable class of every pixel, and its probability in 0..1."""

    labels: UInt8[Tensor, "n h w"]
    confidence: Float[Tensor, "n h w"]


def confident(
    logits: Float[Tensor, "n c hs ws"], size: tuple[int, int], align_corners: bool
) -> Confident:
    """As BDL: the softmax at low resolution, then upsampled to `size`, then the largest."""
    p = full_size(logits.float().softmax(1), size, align_corners)
    confidence, labels = p.max(1)
    return Confident(labels.to(torch.uint8), confidence)


class Histograms:
    """Confidences counted by predicted class; its size depends on the classes alone."""

    def __init__(self, classes: int) -> None:
        self.counts = torch.zeros(classes, BINS, dtype=torch.int64)

    def add(self, found: Confident) -> None:
        """Count all pixels."""
        bins = (found.confidence * BINS).long().clamp(0, BINS - 1)
        place = found.labels.long() * BINS + bins
        counted = torch.bincount(place.flatten(), minlength=self.counts.numel())
        self.counts += counted.view_as(self.counts).cpu()

    def thresholds(self, most: float = 0.9) -> Float[Tensor, " c"]:
        """min(median, `most`) by class; 0 for a class that was nowhere predicted."""
        below = self.counts.cumsum(1)
        half = (below[:, -1:] + 1) // 2
        median = (below < half).sum(1) / BINS  # the lower edge of the bin that holds it
        return torch.where(below[:, -1] > 0, median, 0.0).clamp(max=most)


def keep_confident(found: Confident, thresholds: Float[Tensor, " c"]) -> UInt8[Tensor, "n h w"]:
    """The labels; 255 where the confidence is below the class's threshold."""
    wanted = thresholds.to(found.confidence.device)[found.labels.long()]
    return torch.where(found.confidence >= wanted, found.labels, IGNORE)


def pseudo_label(
    segment: Callable[[], Iterable[Confident]],
    classes: int,
    most: float,
    write: Callable[[int, UInt8[Tensor, "n h w"]], None],
) -> Float[Tensor, " c"]:
    """Go over the set twice: count, then `write(i, labels)` each; returns the thresholds."""
    histograms = Histograms(classes)
    for found in segment():
        histograms.add(found)
    thresholds = histograms.thresholds(most)
    for i, found in enumerate(segment()):
        write(i, keep_confident(found, thresholds))
    return thresholds
