"""Easy and hard pixels of the target (section 4.1, Eq. 2-4 and 7).

One byte a pixel holds all of it: a class index below C is an easy pixel's pseudo label; C to 254 is
a hard pixel's index Z, 254 being 0 and C being 1; 255 is no pixel of the image (a crop's border).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from adapt.data.classes import IGNORE
from adapt.stages.pseudo_labels import Histograms

LAST = IGNORE - 1


class Separated(NamedTuple):
    """Labels, 255 on hard pixels; M, where it is hard; Z, 0 on easy pixels; where an image is."""

    labels: UInt8[Tensor, "n h w"]
    M: Bool[Tensor, "n h w"]
    Z: Float[Tensor, "n h w"]
    inside: Bool[Tensor, "n h w"]


def separate(
    p: Float[Tensor, "n c h w"], thresholds: Float[Tensor, " c"], alpha: float
) -> UInt8[Tensor, "n h w"]:
    """Eq. 2, 3, 7: the most probable of the classes with p > alpha t, or the index, as a byte."""
    passes = p > (alpha * thresholds.to(p.device))[:, None, None]
    easy = passes.any(1)
    labels = torch.where(passes, p, -1.0).argmax(1)
    return torch.where(easy, labels, indexed(p)).to(torch.uint8)


def indexed(p: Float[Tensor, "n c h w"]) -> Tensor:
    """The byte of a hard pixel's Z = 1 - max p (Eq. 7)."""
    most = LAST - p.shape[1]
    return LAST - ((1 - p.max(1).values) * most).round().long()


def separated(y: UInt8[Tensor, "n h w"], classes: int) -> Separated:
    """What the bytes say."""
    inside, hard = y != IGNORE, (y >= classes) & (y != IGNORE)
    z = (LAST - y.float()) / (LAST - classes)
    return Separated(torch.where(hard, IGNORE, y), hard, torch.where(hard, z, 0.0), inside)


def median_thresholds(counts: Histograms, cap: float) -> Float[Tensor, " c"]:
    """t = min(median of the class's confidences, cap); the cap of a class that was nowhere found.

    So such a class is not gone: one pixel that is sure enough of it brings it back.
    """
    found = counts.counts.sum(1) > 0
    return torch.where(found, counts.thresholds(cap), cap)


class InstanceAdaptive:
    """IAS (Mei et al., "IAST", ECCV 2020): thresholds of each image, from it and those before it.

    Of a class's confidences in the image, and its threshold t as one more, share * t^gamma of all
    pass; t is then moved a tenth of the way to the percentile that parts them. So a class that an
    image does not show keeps its threshold, and one that it hardly shows moves little.
    """

    def __init__(self, classes: int, share: float = 0.2, gamma: float = 8.0) -> None:
        self.t = torch.full((classes,), 0.9)
        self.share, self.gamma = share, gamma

    def next(self, p: Float[Tensor, "1 c h w"]) -> Float[Tensor, " c"]:
        """The thresholds for the next image, whose probabilities these are."""
        confidence, labels = (z.flatten().cpu() for z in p.max(1))
        for c in labels.unique().tolist():
            pool = torch.cat([confidence[labels == c].float(), self.t[c, None]]).sort().values
            at = (1 - self.share * float(self.t[c]) ** self.gamma) * (len(pool) - 1)
            new = torch.lerp(pool[math.floor(at)], pool[math.ceil(at)], at - math.floor(at))
            self.t[c] = (0.9 * self.t[c] + 0.1 * new).clamp(max=0.999)
        return self.t.clone()


def easy_images(entropies: Sequence[float], share: float) -> set[int]:
    """IntraDA (Pan et al., CVPR 2020): the `share` of images with the least mean entropy."""
    ranked = sorted(range(len(entropies)), key=lambda i: entropies[i])
    return set(ranked[: round(share * len(ranked))])


class Proportion:
    """Prop. (Eq. 4): the share of easy pixels, of all and by predicted class."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = classes
        self.easy = torch.zeros(len(classes), dtype=torch.int64)
        self.all = torch.zeros(len(classes), dtype=torch.int64)

    def add(self, predicted: Tensor, y: UInt8[Tensor, "h w"]) -> None:
        """One image: its most probable classes, and how it was separated."""
        easy = y < len(self.classes)
        counts = [torch.bincount(z, minlength=len(self.classes)).cpu()
                  for z in (predicted[easy].flatten(), predicted.flatten())]  # fmt: skip
        self.easy += counts[0]
        self.all += counts[1]

    def facts(self) -> dict[str, object]:
        """For made.json: in 0..1, None for a class that was nowhere predicted."""
        return {
            "prop": float(self.easy.sum() / self.all.sum().clamp(min=1)),
            "prop_by_class": dict(self._each()),
        }

    def _each(self) -> Iterator[tuple[str, float | None]]:
        for name, easy, everything in zip(
            self.classes, self.easy.tolist(), self.all.tolist(), strict=True
        ):
            yield name, easy / everything if everything else None
