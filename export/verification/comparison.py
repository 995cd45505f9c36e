"""The graph's answers against the network's own, pixel by pixel, for frames of one size."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adapt.evaluation.evaluate import Confusion, Scores
from export.bundle.reproduction import EVIDENCE
from export.frames import Pixels, Size
from export.graph.segmentor import SegmentorOutputs
from export.verification.margins import MARGINS, MarginShare, by_margin, margin_shares
from export.verification.reference import Wanted

MAX_LOGIT_ERROR = 1e-3
"""Of the range of the logits: a hundred times what float32 rounding was seen to do."""


@dataclass(frozen=True, kw_only=True)
class SizeCheck:
    """What came out at one size; shares are 0..1, mIoU 0..100, None where it cannot be known.

    A pixel is `clear` when torch's best class leads by more than twice the logits' error (at most
    what a float32 graph is allowed), so that rounding cannot have changed it. `miou_between` scores
    the graph's labels against torch's.
    """

    size: Size
    frames: int
    logit_range: float
    logit_error_max: float
    logit_error_mean: float
    logit_error_p999: float
    agreement: float
    clear_share: float
    clear_agreement: float
    confidence_error: int
    confidence_allowed: int
    margins: tuple[MarginShare, ...]
    miou_between: float
    class_change: float
    """100 less the IoU between both of the class where it is lowest, of those with EVIDENCE."""
    changed_class: str | None
    miou_torch: float | None
    miou_graph: float | None
    class_drop: float | None
    """The most that the IoU of one class falls, in points."""
    worst_class: str | None

    @property
    def miou_drop(self) -> float | None:
        """How far the score falls, in points; negative where the graph's is the higher one."""
        if self.miou_torch is None or self.miou_graph is None:
            return None
        return self.miou_torch - self.miou_graph


@dataclass
class SizeComparison:
    """Adds up batches of one size; holds no frame."""

    size: Size
    classes: tuple[str, ...]
    labelled: bool
    frames: int = 0
    low: float = np.inf
    high: float = -np.inf
    errors: list[tuple[float, float, float]] = field(default_factory=list)  # of each batch
    pixels: int = 0
    same: int = 0
    clear: int = 0
    clear_same: int = 0
    confidence_error: int = 0
    slack: float = 0.0

    def __post_init__(self) -> None:
        self.by_margin = np.zeros((len(MARGINS), 2), np.int64)  # pixels, and those that are equal
        self.between = Confusion(self.classes)
        self.torch = Confusion(self.classes)
        self.graph = Confusion(self.classes)

    def add(self, wanted: Wanted, found: SegmentorOutputs, label: Pixels | None) -> None:
        """One batch: the network's answer, the graph's, and the true labels where known."""
        error = (found.logits - wanted.logits).abs().nan_to_num(nan=math.inf)
        largest = float(error.max())
        self.errors.append((largest, float(error.mean()), _quantile(error, 0.999)))
        self.low = min(self.low, float(wanted.logits.min()))
        self.high = max(self.high, float(wanted.logits.max()))
        # Both sides round the position of a pixel among the logits to float32.
        place = 2.0**-22 * max(wanted.logits.shape[-2:])
        reach = self.high - self.low
        slack = 2 * (min(largest, MAX_LOGIT_ERROR * reach) + place * reach)
        self.slack = max(self.slack, slack)
        same, clear = found.labels == wanted.labels, wanted.margin > slack
        self.frames += same.shape[0]
        self.pixels += same.numel()
        self.same += int(same.sum())
        self.clear += int(clear.sum())
        self.clear_same += int((same & clear).sum())
        self.by_margin += by_margin(wanted.margin, same)
        difference = (found.confidence.int() - wanted.confidence.int()).abs()
        self.confidence_error = max(self.confidence_error, int(difference.max()))
        self.between.add(found.labels, wanted.labels)
        if label is not None:
            self.torch.add(wanted.labels, torch.from_numpy(label))
            self.graph.add(found.labels, torch.from_numpy(label))

    def result(self) -> SizeCheck:
        """The numbers over all batches."""
        largest, means, tails = zip(*self.errors, strict=True)
        before = self.torch.scores() if self.labelled else None
        after = self.graph.scores() if self.labelled else None
        drop, worst = class_drop(before, after)
        change, changed = class_change(self.between)
        return SizeCheck(
            size=self.size,
            frames=self.frames,
            logit_range=self.high - self.low,
            logit_error_max=max(largest),
            logit_error_mean=sum(means) / len(means),
            logit_error_p999=max(tails),
            agreement=self.same / self.pixels,
            clear_share=self.clear / self.pixels,
            clear_agreement=self.clear_same / self.clear if self.clear else 1.0,
            confidence_error=self.confidence_error,
            # Logits off by e move a softmax by less than e / 2; then both sides round.
            confidence_allowed=1 + int(255 * self.slack / 4),
            margins=margin_shares(self.by_margin),
            miou_between=self.between.scores(least=0).miou,
            class_change=change,
            changed_class=changed,
            miou_torch=before and before.miou,
            miou_graph=after and after.miou,
            class_drop=drop,
            worst_class=worst,
        )


def class_change(between: Confusion) -> tuple[float, str | None]:
    """Of two networks' labels (the first one's are the true ones): 100 less the lowest IoU of the
    classes with EVIDENCE, in points, and which class it is."""
    iou = between.scores(least=EVIDENCE).iou
    changes = {name: 100 - value for name, value in iou.items() if not math.isnan(value)}
    if not changes:
        return 0.0, None
    worst = max(changes, key=changes.__getitem__)
    return changes[worst], worst


def class_drop(before: Scores | None, after: Scores | None) -> tuple[float | None, str | None]:
    """By how much the IoU of the class that loses most falls, in points, and which it is."""
    if before is None or after is None:
        return None, None
    drops = {name: iou - after.iou[name] for name, iou in before.iou.items()}
    known = {name: drop for name, drop in drops.items() if not math.isnan(drop)}
    if not known:
        return 0.0, None
    worst = max(known, key=known.__getitem__)
    return known[worst], worst


def _quantile(values: Tensor, q: float) -> float:
    flat: NDArray[np.float32] = values.numpy().ravel()
    k = int(q * (flat.size - 1))
    return float(np.partition(flat, k)[k])
