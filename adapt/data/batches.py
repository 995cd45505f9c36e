"""Endless batches of both cities: draw k is the same image, crop and colour on any machine.

Every draw is numbered over the whole run, over all processes, and seeds its own randomness, so
resuming at a step needs no saved state of the loader.
"""

from __future__ import annotations

import signal
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from adapt.data.augment import Augment
from adapt.data.cache import Read, image_reader, label_reader
from adapt.data.class_sampling import RareClasses
from adapt.data.classes import IGNORE
from adapt.data.datasets import LabelledImages
from adapt.data.pseudo_labelled import PseudoLabelled, Target
from adapt.run import Run, parse_size

_NOTHING = torch.empty(0, dtype=torch.uint8)


CITIES = ("source", "target")
_MEASURED = ("x_s", "x_t", "x_t_strong", "w_t")


class Batch(NamedTuple):
    """Source images and labels, target images and pseudo labels; there is no target label.

    Images are [n, 3, h, w], labels [n, h, w]. `y_t` is 255 everywhere where a run has no pseudo
    labels. What nobody asked for is empty, as the tensors of a city that a run does without.
    """

    x_s: Tensor
    y_s: Tensor
    x_t: Tensor
    y_t: Tensor
    w_t: Tensor = _NOTHING
    """[n, h, w]: how much a pseudo label counts, 0..1"""
    x_t_strong: Tensor = _NOTHING
    """the same crops as `x_t`, their colours and sharpness changed; `x_t` then has its own"""
    v_s: Tensor = _NOTHING
    """[n, k] float: what is known of whole source images, as shares of the classes"""
    v_t: Tensor = _NOTHING
    """[n, k] float: the same of target images"""

    def to(self, device: torch.device) -> Batch:
        """Bytes travel; there, images (channels last) and weights become floats in [0, 1].

        Labels stay bytes, vectors and what is float already stay as they are.
        """

        def floats(x: Tensor) -> Tensor:
            layout = torch.channels_last if x.ndim == 4 else torch.preserve_format
            moved = x.to(device, memory_format=layout, non_blocking=True)
            return moved.float() / 255 if moved.dtype == torch.uint8 else moved

        measured = {name: floats(getattr(self, name)) for name in _MEASURED}
        return Batch(*(x.to(device, non_blocking=True) for x in self._replace(**measured)))


@dataclass(frozen=True, eq=False)
class Draws(Dataset[Batch]):
    """Draw k of the run: a source image with its label and a target image, augmented, uint8.

    Images lie as [h, w, 3] in memory and are seen as [3, h, w]: channels last all the way.
    """

    source: LabelledImages | None
    target: Target | None
    augment_s: Augment
    augment_t: Augment
    seed: int
    cache: str = ""
    """where decoded images are kept: "", memory, or a folder"""
    strong: bool = False
    """target crops come twice: in their own colours, and changed"""
    rare: RareClasses | None = None
    """which source image is drawn, where that is not every one in turn"""

    @cached_property
    def _image_s(self) -> Read:
        assert self.source
        return image_reader(self.source.images, self.augment_s, self.cache)

    @cached_property
    def _label_s(self) -> Read:
        assert self.source
        return label_reader(self.source, self.augment_s, self.cache)

    @cached_property
    def _image_t(self) -> Read:
        assert self.target
        images = self.target.images if isinstance(self.target, PseudoLabelled) else self.target
        return image_reader(images, self.augment_t, self.cache)

    def __getitem__(self, k: int) -> Batch:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_mix(self.seed, k))
            return Batch(**self._source(k), **self._target(k))

    def _source(self, k: int) -> dict[str, Tensor]:
        if self.source is None:
            return {"x_s": _NOTHING, "y_s": _NOTHING}
        i = self.rare.draw() if self.rare else _shuffled(len(self.source), self.seed, k)
        x, y = self.augment_s(self._image_s(i), self._label_s(i))
        return {"x_s": _seen(x), "y_s": torch.from_numpy(y)}

    def _target(self, k: int) -> dict[str, Tensor]:
        if self.target is None:
            return {"x_t": _NOTHING, "y_t": _NOTHING}
        j = _shuffled(len(self.target), self.seed + 1, k)
        maps = list(self.target.maps(j)) if isinstance(self.target, PseudoLabelled) else []
        x, *drawn = self.augment_t(self._image_t(j), *maps, strong=self.strong)
        found = {"x_t": _seen(x), "y_t": torch.full(x.shape[:2], IGNORE, dtype=torch.uint8)}
        names = ["y_t", "w_t"][: len(maps)]
        found |= {name: torch.from_numpy(m) for name, m in zip(names, drawn, strict=False)}
        if self.strong:
            found["x_t_strong"] = _seen(drawn[-1])
        return found


def make_draws(
    run: Run,
    source: LabelledImages | None,
    target: Target | None,
    *,
    cities: Collection[str] = CITIES,
    strong: bool = False,
) -> Draws:
    """The draws of a run: sizes and augmentation as its settings say; None: a city not drawn.

    A side that is not among `cities` is not drawn either, but still has a say in the crop's size.
    `strong` adds a changed copy of every target crop: weak for a teacher, strong for a student.
    """
    source_size, size = parse_size(run.source_size, "source-size"), parse_size(run.size, "size")
    sizes = [
        resized or _shape(images.image(0))
        for resized, images in ((source_size, source), (size, target))
        if images is not None
    ]
    crop = parse_size(run.crop, "crop") or (min(s[0] for s in sizes), min(s[1] for s in sizes))

    def augment(resized: tuple[int, int] | None) -> Augment:
        return Augment(
            size=resized,
            crop=crop,
            scale=run.scale,
            colour_jitter=run.colour_jitter,
            blur=run.blur,
            flip=run.flip,
        )

    drawn = source if "source" in cities else None
    return Draws(
        drawn,
        target if "target" in cities else None,
        augment(source_size),
        augment(size),
        run.seed,
        run.cache,
        strong,
        RareClasses.of(drawn) if run.sample_rare and drawn else None,
    )


def batches(draws: Draws, run: Run, *, start: int, rank: int) -> Iterator[Batch]:
    """This process's share of the batches of steps `start`, `start + 1`, ... `run.steps - 1`."""
    share = run.batch // run.devices
    first = rank * share
    order = [
        [step * run.batch + first + i for i in range(share)] for step in range(start, run.steps)
    ]
    loader = DataLoader(
        draws,
        batch_sampler=order,
        num_workers=run.workers,
        pin_memory=torch.cuda.is_available() and run.device != "cpu",
        prefetch_factor=4 if run.workers else None,
        worker_init_fn=_leave_interrupts_to_the_parent,
        collate_fn=_joined,
    )
    return iter(loader)


def _joined(drawn: Sequence[Batch]) -> Batch:
    """Stacked as they lie in memory; what is empty stays empty."""
    return Batch(
        *(
            torch.stack([x.permute(1, 2, 0) for x in xs]).permute(0, 3, 1, 2)
            if xs[0].ndim == 3
            else (torch.stack(xs) if xs[0].numel() else xs[0])
            for xs in zip(*drawn, strict=True)
        )
    )


def _seen(x: UInt8[np.ndarray, "h w 3"]) -> UInt8[Tensor, "3 h w"]:
    return torch.from_numpy(x).permute(2, 0, 1)


def _leave_interrupts_to_the_parent(_: int) -> None:
    """Ctrl-C reaches all processes; the loop still wants batches to end its step with."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _shuffled(n: int, seed: int, k: int) -> int:
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
