"""The graph's answers against the network's own, pixel by pixel, for frames of one size."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adapt.evaluate import Confusion, Scores, full_size, logits_of
from adapt.networks.segmentor import Segmentor
from export.frames import Pixels, Size
from export.graph import Answer

MIN_AGREEMENT = 0.999
"""The share of pixels on which graph and network must agree, ties and all."""
MAX_LOGIT_ERROR = 1e-3
"""Of the range of the logits: a hundred times what float32 rounding was seen to do."""
MAX_MIOU_CHANGE = 0.1
"""In points, of the mean: one near-tie in a class of few pixels moves that class by more."""


@dataclass(frozen=True, kw_only=True)
class SizeCheck:
    """What came out at one size; shares are 0..1, mIoU 0..100, None where it cannot be known.

    A pixel is `clear` when torch's best class leads by more than twice the logits' error, so that
    rounding cannot have changed it. `miou_between` scores the graph's labels against torch's.
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
    miou_between: float
    miou_torch: float | None
    miou_graph: float | None
    worst_class_change: float | None

    @property
    def miou_change(self) -> float:
        """In points: of the score where there are labels, else how far the two are from equal."""
        if self.miou_torch is None or self.miou_graph is None:
            return 100 - self.miou_between
        return abs(self.miou_graph - self.miou_torch)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the graph is not the network, in words with numbers; empty when it is."""
        at = f"at {self.size[0]}x{self.size[1]}"
        wrong: list[str] = []
        relative = self.logit_error_max / (self.logit_range or 1)
        if not relative <= MAX_LOGIT_ERROR:
            wrong.append(
                f"{at} logits differ by up to {self.logit_error_max:.3g}, {relative:.2%} of their "
                f"range (allowed {MAX_LOGIT_ERROR:.2%})"
            )
        if self.clear_agreement < 1:
            wrong.append(
                f"{at} {1 - self.clear_agreement:.3%} of the clear pixels have other labels"
            )
        if self.agreement < MIN_AGREEMENT:
            wrong.append(
                f"{at} {self.agreement:.3%} of the labels agree (wanted {MIN_AGREEMENT:.1%})"
            )
        if self.confidence_error > self.confidence_allowed:
            wrong.append(
                f"{at} confidence differs by up to {self.confidence_error} of 255 "
                f"(allowed {self.confidence_allowed})"
            )
        if self.miou_change > MAX_MIOU_CHANGE:
            wrong.append(f"{at} mIoU changes by {self.miou_change:.2f} points")
        return tuple(wrong)


@dataclass
class Comparison:
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
        self.between = Confusion(self.classes)
        self.torch = Confusion(self.classes)
        self.graph = Confusion(self.classes)

    def add(self, wanted: Wanted, found: Answer, label: Pixels | None) -> None:
        """One batch: the network's answer, the graph's, and the true labels where known."""
        error = (found.logits - wanted.logits).abs()
        largest = float(error.max())
        self.errors.append((largest, float(error.mean()), _quantile(error, 0.999)))
        self.low = min(self.low, float(wanted.logits.min()))
        self.high = max(self.high, float(wanted.logits.max()))
        # Both sides round the position of a pixel among the logits to float32.
        place = 2.0**-22 * max(wanted.logits.shape[-2:])
        slack = 2 * (largest + place * (self.high - self.low))
        self.slack = max(self.slack, slack)
        same, clear = found.labels == wanted.labels, wanted.margin > slack
        self.frames += same.shape[0]
        self.pixels += same.numel()
        self.same += int(same.sum())
        self.clear += int(clear.sum())
        self.clear_same += int((same & clear).sum())
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
            miou_between=self.between.scores().miou,
            miou_torch=before and before.miou,
            miou_graph=after and after.miou,
            worst_class_change=_worst(before, after),
        )


@dataclass(frozen=True)
class Wanted:
    """The network's own answer; `margin` is the best logit less the second, at full size."""

    labels: Tensor
    confidence: Tensor
    logits: Tensor
    margin: Tensor


def answer_of(segmentor: Segmentor, images: Pixels, work_size: Size | None) -> Wanted:
    """What the network answers to RGB [n,h,w,3], without the module that was exported."""
    with torch.inference_mode():
        logits = logits_of(segmentor, torch.from_numpy(images), work_size)
        size = (images.shape[1], images.shape[2])
        full = full_size(logits, size, segmentor.align_corners is True)
        best, labels = full.max(1)
        probability = full.softmax(1).amax(1)
        second = full.scatter_(1, labels[:, None], -torch.inf).amax(1)
        confidence = (probability * 255).round().to(torch.uint8)
        return Wanted(labels.to(torch.uint8), confidence, logits, best - second)


def _worst(before: Scores | None, after: Scores | None) -> float | None:
    """The largest change of a class's IoU, in points."""
    if before is None or after is None:
        return None
    changes = [abs(after.iou[name] - iou) for name, iou in before.iou.items()]
    return max((change for change in changes if not math.isnan(change)), default=0.0)


def _quantile(values: Tensor, q: float) -> float:
    flat: NDArray[np.float32] = values.numpy().ravel()
    k = int(q * (flat.size - 1))
    return float(np.partition(flat, k)[k])
