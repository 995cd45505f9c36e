"""The stage that separates the target: a map of bytes an image, thresholds, Prop., a picture."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from rich.progress import track
from torch import Tensor

from adapt.data.datasets import Images
from adapt.data.pseudo_labelled import PseudoLabelled
from adapt.evaluation.evaluate import logits_of
from adapt.methods.intra_domain.separation import (
    InstanceAdaptive,
    Proportion,
    easy_images,
    median_thresholds,
    separate,
    separated,
)
from adapt.networks.segmentor import Segmentor
from adapt.networks.upsampling import full_size
from adapt.pictures.overlay import Palette, Picture, png, strip, write_png
from adapt.stages.made import write_missing
from adapt.stages.progress_pictures import rows_of
from adapt.stages.pseudo_labels import Confident, counted, label_files
from adapt.stages.runner import Making

log = logging.getLogger(__name__)
CAP = 0.9
"""no class's threshold is higher"""


@dataclass(frozen=True, kw_only=True)
class Separation:
    """How easy is told from hard."""

    split: Literal["pixel", "image"] = "pixel"
    """image: IntraDA's, whole images by their mean entropy"""
    thresholds: Literal["median", "ias"] = "median"
    """of the whole target, or IAS's of each image"""
    alpha: float = 0.85
    """a pixel is easy if it has a class with p > alpha t; of IAS's own thresholds alpha is 1"""
    share: float = 0.67
    """lambda: of the images that are easy where whole images are split"""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Whose opinion is asked, about which images; seen at `size` (height, width)."""

    segmentor: Callable[[], Segmentor]
    """on the run's device; built when it is needed"""
    images: Images
    size: tuple[int, int] | None
    classes: Sequence[str]
    palette: Palette


def separation(
    name: str, how: Separation, asked: Asked, needs: tuple[str, ...], made_of: Mapping[str, str]
) -> Making:
    """The stage that leaves NAME/labels, maps as in `separation.py`; thresholds and Prop. are kept.

    `made_of` are fingerprints of what it depends on besides the stages it needs.
    """
    settings = {"split": how.split, "thresholds": how.thresholds, "alpha": how.alpha,
                "share": how.share, **made_of}  # fmt: skip
    return Making(name=name, needs=needs, settings=settings, make=partial(_make, how, asked))


def _make(how: Separation, asked: Asked, folder: Path) -> Mapping[str, object]:
    network, images = asked.segmentor(), asked.images
    device = next(network.parameters()).device

    def probabilities(i: int) -> Float[Tensor, "1 c h w"]:
        image = torch.from_numpy(images.image(i))[None].to(device)
        own = (image.shape[1], image.shape[2])
        z = logits_of(network, image, asked.size).float().softmax(1)
        return full_size(z, own, network.align_corners)

    with torch.inference_mode():
        facts = _maps(how, asked, folder, probabilities)
    log.info("%s: Prop. %.2f", folder.name, facts["prop"])
    files = label_files(folder, len(images))
    write_png(folder / "pictures" / "000000.png", _picture(asked, PseudoLabelled(images, files)))
    return facts


def _maps(
    how: Separation, asked: Asked, folder: Path, probabilities: Callable[[int], Tensor]
) -> Mapping[str, object]:
    """Every image's map; what is there is not written again, but counted."""
    count, classes = len(asked.images), len(asked.classes)
    files, found = label_files(folder, count), Proportion(asked.classes)
    thresholds, easy = torch.zeros(classes), set(range(count))
    if how.split == "image":
        entropies = [_entropy(probabilities(i)) for i in track(range(count), "separation: ranking")]
        easy = easy_images(entropies, how.share)
    elif how.thresholds == "median":

        def confident(i: int) -> Confident:
            confidence, labels = probabilities(i).max(1)
            return Confident(labels.to(torch.uint8), confidence)

        counts = counted(confident, count, classes, folder / "counts.safetensors")
        thresholds = median_thresholds(counts, CAP)
    adaptive = InstanceAdaptive(classes)
    for i in track(range(count), "separation: drawing"):
        p = probabilities(i)
        if how.split == "pixel" and how.thresholds == "ias":
            thresholds = adaptive.next(p)
        own = thresholds if i in easy else torch.full((classes,), math.inf)
        y = separate(p, own, 1.0 if how.thresholds == "ias" else how.alpha)[0]
        found.add(p.argmax(1)[0], y)
        if not files[i].is_file():
            write_missing(files[i], png(y.cpu().numpy()))
    facts = {} if how.split == "image" else {
        "thresholds": dict(zip(asked.classes, thresholds.tolist(), strict=True))
    }  # fmt: skip
    return {**found.facts(), **facts}


def _entropy(p: Float[Tensor, "1 c h w"]) -> float:
    return float(-(p * p.clamp(min=1e-12).log()).sum(1).mean())


def _picture(asked: Asked, target: PseudoLabelled) -> Picture:
    """Rows of image | labels of what is easy | what is hard | how unsure it is there (white: 1)."""

    def row(i: int) -> Picture:
        image, y = target.image(i), torch.from_numpy(target.label(i))[None]
        found = separated(y, len(asked.classes))
        grey = [(z[0].float() * 255).byte().numpy() for z in (found.M, found.Z)]
        maps = [np.repeat(g[..., None], 3, 2) for g in grey]
        return np.concatenate([strip(image, [found.labels[0].numpy()], asked.palette), *maps], 1)

    return rows_of(len(target), row)
