"""The teacher's opinion of the target: labels, and how much each of them counts."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from adapt.losses import mean_over_processes

BINS = 200
FORGET = 0.99
"""of the confidence counts, a step: about the last hundred count"""
PRIOR_STEPS = 50
"""of the first opinions, whose mean is taken for the target's class shares"""


class Opinion(NamedTuple):
    """The most probable class of every pixel, its probability, and what it counts."""

    y: UInt8[Tensor, "n h w"]
    confidence: Float[Tensor, "n h w"]
    w: Float[Tensor, "n h w"]


def share_of_confident(
    p: Float[Tensor, "n c h w"], threshold: float, *, alone: bool = False
) -> Opinion:
    """All pixels count alike: as the share of the batch's pixels above the threshold (DACS).

    Of the batch of all processes, unless one asks `alone`.
    """
    confidence, y = p.max(1)
    share = (confidence >= threshold).float().mean()
    if not alone:
        share = mean_over_processes(share)
    return Opinion(y.to(torch.uint8), confidence, share.expand_as(confidence))


class Balance(nn.Module):
    """Thresholds and weights by class, from running counts; a module, so that they are saved.

    A pixel counts if its confidence is at least the median of its class, or the class's floor where
    the median is lower; then by the class's share in the first opinions over its share in what is
    kept now, between 0.3 and 3: no class can win the target over by being easy.
    """

    counts: Tensor
    kept: Tensor
    prior: Tensor
    steps: Tensor

    floors: Tensor

    def __init__(self, floors: Float[Tensor, " c"]) -> None:
        super().__init__()
        classes = len(floors)
        self.register_buffer("floors", floors, persistent=False)
        self.register_buffer("counts", torch.zeros(classes, BINS))
        self.register_buffer("kept", torch.zeros(classes))
        self.register_buffer("prior", torch.zeros(classes))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, p: Float[Tensor, "n c h w"]) -> Opinion:
        """Probabilities of a batch -> its labels and weights; the batch itself is counted first."""
        confidence, labels = p.max(1)
        self._count(p, confidence, labels)
        kept = confidence >= self.thresholds()[labels]
        self.kept *= FORGET
        self.kept += (1 - FORGET) * self._shares(labels[kept])
        return self.judge(p)

    def judge(self, p: Float[Tensor, "n c h w"]) -> Opinion:
        """The same by what was counted so far; asks no other process."""
        confidence, labels = p.max(1)
        kept = confidence >= self.thresholds()[labels]
        return Opinion(labels.to(torch.uint8), confidence, kept * self.weights()[labels])

    def thresholds(self) -> Float[Tensor, " c"]:
        """max(median, floor) by class."""
        below = self.counts.cumsum(1)
        median = (below < below[:, -1:] / 2).sum(1) / BINS
        return median.maximum(self.floors)

    def weights(self) -> Float[Tensor, " c"]:
        """By class, 0.3..3."""
        kept = self.kept / self.kept.sum().clamp(min=1e-9)
        return (self.prior / kept.clamp(min=1e-6)).clamp(0.3, 3.0)

    def _count(self, p: Tensor, confidence: Tensor, labels: Tensor) -> None:
        place = labels * BINS + (confidence * BINS).long().clamp(max=BINS - 1)
        found = torch.bincount(place.flatten(), minlength=self.counts.numel()).float()
        self.counts *= FORGET
        self.counts += mean_over_processes(found).view_as(self.counts)
        if int(self.steps) < PRIOR_STEPS:
            mean = mean_over_processes(p.mean((0, 2, 3)))
            self.prior += (mean - self.prior) / (self.steps + 1)
        self.steps += 1

    def _shares(self, labels: Tensor) -> Float[Tensor, " c"]:
        found = torch.bincount(labels.flatten(), minlength=len(self.kept)).float()
        found = mean_over_processes(found)
        return found / found.sum().clamp(min=1)


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, keep: float) -> None:
    """teacher <- keep * teacher + (1 - keep) * student: parameters and batch statistics."""
    theirs = student.state_dict()
    for name, own in teacher.state_dict().items():
        if own.is_floating_point():
            own.lerp_(theirs[name], 1 - keep)
        else:
            own.copy_(theirs[name])
