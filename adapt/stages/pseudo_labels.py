"""Pseudo labels of a whole set of images, by class-wise confidence thresholds.

The rule is BDL's (Li, Yuan, Vasconcelos, CVPR 2019), from which label-driven reconstruction takes
it: a pixel keeps its class if its confidence is at least the median of that class over the set, or
0.9 where the median is higher. BDL sorts all confidences of the set in memory (25 GB for
Cityscapes); here they are counted in fixed bins, and the images are segmented twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from rich.progress import track
from torch import Tensor, nn

from adapt import saved_state
from adapt.data.classes import IGNORE
from adapt.data.datasets import Images
from adapt.data.pseudo_labelled import PseudoLabelled
from adapt.evaluation.evaluate import Views, logits_of
from adapt.networks.segmentor import Segmentor
from adapt.networks.upsampling import full_size
from adapt.pictures.overlay import Palette, Picture, png, strip, write_png
from adapt.stages.made import names, write_missing
from adapt.stages.progress_pictures import rows_of
from adapt.stages.runner import Making

BINS = 10_000
"""The threshold is at most this fraction too low."""
KEPT_EVERY = 200
"""images after which the counts are kept, so that a stage that is killed goes on from there"""


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


class Histograms(nn.Module):
    """Confidences counted by predicted class; its size depends on the classes alone.

    `images` says how many were counted. A module, so that it is saved as all tensors are.
    """

    counts: Tensor
    images: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("counts", torch.zeros(classes, BINS, dtype=torch.int64))
        self.register_buffer("images", torch.zeros((), dtype=torch.int64))

    def add(self, found: Confident) -> None:
        """Count all pixels."""
        bins = (found.confidence * BINS).long().clamp(0, BINS - 1)
        place = found.labels.long() * BINS + bins
        counted = torch.bincount(place.flatten(), minlength=self.counts.numel())
        self.counts += counted.view_as(self.counts).cpu()
        self.images += len(found.labels)

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


def counted(
    segment: Callable[[int], Confident], count: int, classes: int, kept: Path
) -> Histograms:
    """The confidences of images 0..count-1; goes on from the file `kept` where there is one."""
    histograms = Histograms(classes)
    if kept.is_file():
        saved_state.load(kept, {"histograms": histograms})
    for i in track(range(int(histograms.images), count), "pseudo labels: counting"):
        histograms.add(segment(i))
        if (i + 1) % KEPT_EVERY == 0 or i + 1 == count:
            saved_state.save(kept, {"histograms": histograms}, i + 1)
    return histograms


Size = tuple[int, int] | None
Annotate = Callable[[Segmentor, UInt8[Tensor, "1 h w 3"], Size], Confident]
"""Who labels an image of RGB bytes, at its own size; the network sees it at the one given."""


def by_probability(network: Segmentor, image: UInt8[Tensor, "1 h w 3"], size: Size) -> Confident:
    """The most probable class."""
    own = (image.shape[1], image.shape[2])  # in training it is resized with its image
    return confident(logits_of(network, image, size), own, network.align_corners)


def by_views(scales: Sequence[float], flip: bool) -> Annotate:
    """The most probable class by the mean over scales of the size, and over the mirrored image."""

    def annotate(network: Segmentor, image: UInt8[Tensor, "1 h w 3"], size: Size) -> Confident:
        own = (image.shape[1], image.shape[2])
        p = Views(tuple(scales), flip, size).probabilities(network, image)
        confidence, labels = full_size(p, own, network.align_corners).max(1)
        return Confident(labels.to(torch.uint8), confidence)

    return annotate


@dataclass(frozen=True, kw_only=True)
class Labelling:
    """Whose opinion is asked, about which images."""

    segmentor: Callable[[], Segmentor]
    """on the run's device; built when it is needed"""
    images: Callable[[], Images]
    size: Size
    """(height, width) the network sees them in; the labels have the images' own size"""
    annotate: Annotate = by_probability
    classes: Sequence[str]
    palette: Palette
    max_threshold: float = 0.9


def pseudo_labels(
    name: str,
    labelling: Labelling,
    needs: tuple[str, ...] = (),
    made_of: Mapping[str, str] = MappingProxyType({}),
) -> Making:
    """The stage that leaves NAME/labels: a PNG of class indices an image, 255 where not sure.

    `made_of` are fingerprints of what it depends on besides the stages it needs.
    """
    settings = {"max_threshold": labelling.max_threshold, **made_of}
    return Making(name=name, needs=needs, settings=settings, make=partial(_make, labelling))


def label_files(folder: Path, count: int) -> list[Path]:
    """The files of a finished stage, in the order of the images."""
    return [folder / "labels" / name for name in names(count)]


def _make(asked: Labelling, folder: Path) -> Mapping[str, object]:
    network, images = asked.segmentor(), asked.images()
    device = next(network.parameters()).device

    def segment(i: int) -> Confident:
        image = torch.from_numpy(images.image(i))[None].to(device)
        return asked.annotate(network, image, asked.size)

    files = label_files(folder, len(images))
    with torch.inference_mode():
        kept = folder / "counts.safetensors"
        histograms = counted(segment, len(images), len(asked.classes), kept)
        thresholds = histograms.thresholds(asked.max_threshold)
        for i in track(range(len(images)), "pseudo labels: drawing"):
            if not files[i].is_file():
                labels = keep_confident(segment(i), thresholds)[0]
                write_missing(files[i], png(labels.cpu().numpy()))
    picture = _picture(PseudoLabelled(images, files), asked.palette)
    write_png(folder / "pictures" / "000000.png", picture)
    return {"thresholds": dict(zip(asked.classes, thresholds.tolist(), strict=True))}


def _picture(target: PseudoLabelled, palette: Palette) -> Picture:
    """Rows of image | the image under what was kept of its predicted label."""

    def row(i: int) -> Picture:
        return strip(target.image(i), [target.label(i)], palette)

    return rows_of(len(target), row)
