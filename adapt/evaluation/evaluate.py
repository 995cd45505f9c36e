"""Confusion matrix -> per-class IoU and mIoU, from labels at full size out of bilinear logits."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from adapt.data.classes import CLASS_SETS, IGNORE
from adapt.data.datasets import LabelledImages
from adapt.networks.segmentor import Segmented, Segmentor
from adapt.networks.upsampling import full_size, labels_at

__all__ = ["Confusion", "Scores", "Views", "evaluate", "full_size", "labels_at", "logits_of"]


def logits_of(
    segmentor: Segmentor, image: UInt8[Tensor, "n h w 3"], work_size: tuple[int, int] | None
) -> Float[Tensor, "n c hs ws"]:
    """What the deployed graph does before its tail: RGB bytes -> low-resolution logits."""
    return looked_at(segmentor, image, work_size).logits


def looked_at(
    segmentor: Segmentor, image: UInt8[Tensor, "n h w 3"], work_size: tuple[int, int] | None
) -> Segmented:
    """RGB bytes -> all that the network says of them.

    The image is scaled to [0, 1] and, where there is a `work_size` (height, width), resized to it
    bilinearly (half-pixel centres, no antialiasing), then segmented.
    """
    x = image.permute(0, 3, 1, 2).float() / 255
    if work_size is not None:
        x = interpolate(x, size=work_size, mode="bilinear", align_corners=False)
    return segmentor(x)


@dataclass(frozen=True)
class Views:
    """How a frame is looked at: at which size, at several scales of it, and mirrored."""

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    size: tuple[int, int] | None = None
    """(height, width) the frame is resized to; None as it comes"""

    @property
    def one(self) -> bool:
        """Whether the frame is looked at once, as it is."""
        return self.scales == (1.0,) and not self.flip

    def logits(
        self, segmentor: Segmentor, image: UInt8[Tensor, "n h w 3"]
    ) -> Float[Tensor, "n c hs ws"]:
        """The only view's logits, or the mean probabilities of all at the largest one's size."""
        if self.one:
            return logits_of(segmentor, image, self.size)
        probabilities = [logits.softmax(1) for logits in self._each(segmentor, image)]
        largest = max((p.shape[-2:] for p in probabilities), key=math.prod)
        size = (int(largest[0]), int(largest[1]))
        resized = [full_size(p, size, segmentor.align_corners) for p in probabilities]
        return torch.stack(resized).mean(0)

    def probabilities(
        self, segmentor: Segmentor, image: UInt8[Tensor, "n h w 3"]
    ) -> Float[Tensor, "n c hs ws"]:
        """Of the only view, or the mean of all."""
        z = self.logits(segmentor, image).float()
        return z.softmax(1) if self.one else z

    def full_size(
        self, segmentor: Segmentor, image: UInt8[Tensor, "n h w 3"]
    ) -> Float[Tensor, "n c h w"]:
        """Probabilities at the image's size, the mean of all views: each enlarged, then softmax."""
        own = image.shape[1], image.shape[2]
        each = (
            full_size(z.float(), own, segmentor.align_corners).softmax(1)
            for z in self._each(segmentor, image)
        )
        return sum(each, torch.zeros(())) / (len(self.scales) * (1 + self.flip))

    def _each(self, segmentor: Segmentor, image: UInt8[Tensor, "n h w 3"]) -> Iterator[Tensor]:
        height, width = self.size or (image.shape[1], image.shape[2])
        for scale in self.scales:
            size = (round(height * scale), round(width * scale))
            yield logits_of(segmentor, image, size)
            if self.flip:
                yield logits_of(segmentor, image.flip(2), size).flip(3)


class Scores(NamedTuple):
    """Of a confusion matrix, in percent; a class that no label shows is nan, and not averaged."""

    miou: float
    iou: dict[str, float]


class Confusion:
    """One matrix for a whole set of images: rows are true classes, columns predicted ones.

    `known` are the classes that the labels can name (None: all); the others score nan, not 0.
    """

    def __init__(self, classes: Sequence[str], known: Collection[str] | None = None) -> None:
        self.classes = tuple(classes)
        self.known = self.classes if known is None else known
        self.matrix: Int64[Tensor, "c c"] = torch.zeros(
            len(self.classes), len(self.classes), dtype=torch.int64
        )

    def add(self, predicted: UInt8[Tensor, "*n h w"], label: UInt8[Tensor, "*n h w"]) -> None:
        """Count the pixels whose true class is not 255."""
        c = len(self.classes)
        valid = label != IGNORE
        pairs = label[valid].long() * c + predicted[valid].long()
        self.matrix += torch.bincount(pairs, minlength=c * c).view(c, c).cpu()

    def scores(self, least: int = 1) -> Scores:
        """IoU = intersection / union per class and their mean (nan classes skipped).

        Only classes of at least so many true pixels: the mean of two predictions of the same images
        is then over the same classes, whatever they predict beside them. With 0 a class that is
        predicted and never true counts as 0, as in Cityscapes' own script.
        """
        hits = self.matrix.diag().double()
        iou = 100 * hits / (self.matrix.sum(0) + self.matrix.sum(1) - hits)
        iou[torch.tensor([name not in self.known for name in self.classes])] = math.nan
        iou[self.matrix.sum(1) < least] = math.nan
        return Scores(float(iou.nanmean()), dict(zip(self.classes, iou.tolist(), strict=True)))


def subset_mious(scores: Scores) -> dict[str, float]:
    """mIoU over Cityscapes' 19, 16 and 13 classes, where all of them were trained."""
    found: dict[str, float] = {}
    for name in ("cityscapes19", "cityscapes16", "cityscapes13"):
        names = CLASS_SETS[name].names
        if set(names) <= set(scores.iou):
            present = [scores.iou[n] for n in names if not math.isnan(scores.iou[n])]
            found[name] = sum(present) / len(present) if present else math.nan
    return found


@contextmanager
def evaluating(segmentor: Segmentor) -> Generator[None]:
    """No gradients and eval mode; every layer gets its own mode back."""
    modes = [(module, module.training) for module in segmentor.modules()]
    segmentor.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def predict(
    segmentor: Segmentor, image: UInt8[np.ndarray, "h w 3"], views: Views
) -> UInt8[np.ndarray, "h w"]:
    """The label map of one RGB image at the image's size, looked at from `views`."""
    device = next(segmentor.parameters()).device
    x = torch.from_numpy(image)[None].to(device)
    logits = views.logits(segmentor, x)
    size = (image.shape[0], image.shape[1])
    return labels_at(logits, size, segmentor.align_corners)[0].cpu().numpy()


def evaluate(
    segmentor: Segmentor,
    data: LabelledImages,
    views: Views,
    seen: Callable[[int, UInt8[np.ndarray, "h w"]], None] = lambda _i, _labels: None,
) -> Scores:
    """Scores over a whole labelled set, at the labels' own size; `seen` is told each label map."""
    confusion = Confusion(data.classes, set(data.ids.values()))
    with evaluating(segmentor):
        for i in range(len(data)):
            labels = predict(segmentor, data.image(i), views)
            confusion.add(torch.from_numpy(labels), torch.from_numpy(data.label(i)))
            seen(i, labels)
    return confusion.scores()
