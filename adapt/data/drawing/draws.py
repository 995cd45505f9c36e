"""Endless draws of both cities: draw k is the same image, crop and colour on any machine.

Every draw is numbered over the whole run, over all processes, and seeds its own randomness, so
resuming at a step needs no saved state of the loader.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from adapt.data.classes import IGNORE
from adapt.data.datasets import Images, LabelledImages
from adapt.data.drawing.augment import Augment, Picture
from adapt.data.drawing.batches import NOTHING, Batch
from adapt.data.drawing.cache import Read, image_reader, label_reader
from adapt.data.drawing.class_sampling import RareClasses
from adapt.data.drawing.style import Style
from adapt.data.pseudo_labelled import PseudoLabelled, Target
from adapt.run import Run, parse_size
from roadshift import UserError

CITIES = ("source", "target")


@dataclass(frozen=True, eq=False, kw_only=True)
class SourceDraws:
    """Where source images come from: read, restyled, cropped; rare classes first if asked."""

    images: LabelledImages
    image: Read
    label: Read
    augment: Augment
    style: Style | None
    rare: RareClasses | None

    def draw(self, k: int, seed: int) -> dict[str, Tensor]:
        """x_s and y_s of draw k."""
        i = self.rare.draw() if self.rare else shuffled(len(self.images), seed, k)
        restyle = partial(self.style, i=i) if self.style else None
        x, y = self.augment(self.image(i), self.label(i), restyle=restyle)
        return {"x_s": _seen(x), "y_s": torch.from_numpy(y)}


@dataclass(frozen=True, eq=False, kw_only=True)
class TargetDraws:
    """Where target images come from, with their pseudo labels where there are any."""

    images: Target
    image: Read
    augment: Augment
    strong: bool
    """crops come twice: in their own colours, and changed"""
    image_labels: Float[Tensor, "n c"] | None = None

    def draw(self, k: int, seed: int) -> dict[str, Tensor]:
        """x_t and y_t of draw k, and where they are there w_t, x_t_strong and v_t."""
        j = shuffled(len(self.images), seed + 1, k)
        maps = list(self.images.maps(j)) if isinstance(self.images, PseudoLabelled) else []
        x, *drawn = self.augment(self.image(j), *maps, strong=self.strong)
        found = {"x_t": _seen(x), "y_t": torch.full(x.shape[:2], IGNORE, dtype=torch.uint8)}
        names = ["y_t", "w_t"][: len(maps)]
        found |= {name: torch.from_numpy(m) for name, m in zip(names, drawn, strict=False)}
        if self.strong:
            found["x_t_strong"] = _seen(drawn[-1])
        if self.image_labels is not None:
            found["v_t"] = self.image_labels[j]
        return found


@dataclass(frozen=True, eq=False)
class Draws(Dataset[Batch]):
    """Draw k of the run: a source image with its label and a target image, augmented, uint8.

    Images lie as [h, w, 3] in memory and are seen as [3, h, w]: channels last all the way.
    """

    source: SourceDraws | None
    target: TargetDraws | None
    crop: tuple[int, int]
    seed: int

    def __getitem__(self, k: int) -> Batch:
        nothing = dict.fromkeys(("x_s", "y_s", "x_t", "y_t"), NOTHING)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_mix(self.seed, k))
            source = self.source.draw(k, self.seed) if self.source else {}
            target = self.target.draw(k, self.seed) if self.target else {}
            return Batch(**nothing | source | target)


def make_draws(
    run: Run,
    source: LabelledImages | None,
    target: Target | None,
    *,
    cities: Collection[str] = CITIES,
    strong: bool = False,
    image_labels: Float[Tensor, "n c"] | None = None,
) -> Draws:
    """The draws of a run: sizes and augmentation as its settings say; None: a city not drawn.

    A side that is not among `cities` is not drawn either, but still has a say in the crop's size
    and, the target, in the source's style. `strong` adds a changed copy of every target crop: weak
    for a teacher, strong for a student. `image_labels` are drawn with the target's images, which
    are then whole, at the size of the first. Raises UserError for a style without target images.
    """
    source_size, size = parse_size(run.source_size, "source-size"), parse_size(run.size, "size")
    crop = crop_of(run, source, target)

    def augment(resized: tuple[int, int] | None) -> Augment:
        return Augment(
            size=resized,
            crop=crop,
            scale=run.scale,
            colour_jitter=run.colour_jitter,
            blur=run.blur,
            flip=run.flip,
        )

    augment_s, augment_t = augment(source_size), augment(size)
    images_t = target.images if isinstance(target, PseudoLabelled) else target
    image_t = image_reader(images_t, augment_t, run.cache) if images_t else None
    drawn: SourceDraws | None = None
    if source and "source" in cities:
        image_s = image_reader(source.images, augment_s, run.cache)
        drawn = SourceDraws(
            images=source,
            image=image_s,
            label=label_reader(source, augment_s, run.cache),
            augment=augment_s,
            style=_style(run, image_s, image_t, images_t, augment_t),
            rare=RareClasses.of(source) if run.sample_rare else None,
        )
    seen: TargetDraws | None = None
    if target and image_t and "target" in cities:
        seen = TargetDraws(
            images=target,
            image=image_t,
            augment=augment_t if image_labels is None else _whole(augment_t, image_t),
            strong=strong,
            image_labels=image_labels,
        )
    return Draws(drawn, seen, crop, run.seed)


def crop_of(run: Run, source: LabelledImages | None, target: Target | None) -> tuple[int, int]:
    """(height, width) of the crops: the run's, or the smaller of both sides' sizes."""
    if crop := parse_size(run.crop, "crop"):
        return crop
    asked = parse_size(run.source_size, "source-size"), parse_size(run.size, "size")
    sizes = [
        size or _shape(images.image(0))
        for size, images in zip(asked, (source, target), strict=True)
        if images is not None
    ]
    return min(s[0] for s in sizes), min(s[1] for s in sizes)


def _whole(augment: Augment, images: Read) -> Augment:
    """All of an image at a time."""
    return replace(augment, crop=augment.size or _shape(images(0)), scale=(1.0, 1.0))


def _style(
    run: Run, source: Read, target: Read | None, targets: Images | None, augment_t: Augment
) -> Style | None:
    if not run.style:
        return None
    if target is None or targets is None:
        raise UserError(f"--style {run.style} needs target images, and this stage has none")
    return Style(
        kind=run.style,
        space=run.style_space,
        share=run.style_share,
        beta=run.style_beta,
        source=source,
        target=target,
        targets=len(targets),
        augment_t=replace(augment_t, colour_jitter=0.0, blur=0.0),
    )


def _seen(x: Picture) -> UInt8[Tensor, "3 h w"]:
    return torch.from_numpy(x).permute(2, 0, 1)


def shuffled(n: int, seed: int, k: int) -> int:
    """Position k of an endless sequence of permutations of 0..n-1."""
    epoch, at = divmod(k, n)
    return int(_permutation(n, seed, epoch)[at])


@lru_cache(maxsize=4)  # of both cities, at the turn of an epoch
def _permutation(n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(n)


def _mix(seed: int, k: int) -> int:
    return int(np.random.SeedSequence((seed, k)).generate_state(1, np.uint64)[0] >> 1)


def _shape(image: UInt8[np.ndarray, "h w 3"]) -> tuple[int, int]:
    return image.shape[0], image.shape[1]
