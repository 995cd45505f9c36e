"""Endless batches of both cities: draw k is the same image, crop and colour on any machine.

Every draw is numbered over the whole run, over all processes, and seeds its own randomness, so
resuming at a step needs no saved state of the loader.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from adapt.data.augment import Augment
from adapt.data.classes import IGNORE
from adapt.data.datasets import LabelledImages
from adapt.data.pseudo_labelled import PseudoLabelled, Target
from adapt.run import Run, parse_size

_NOTHING = torch.empty(0, dtype=torch.uint8)


class Batch(NamedTuple):
    """Source images and labels, target images and pseudo labels; there is no target label.

    `y_t` is 255 everywhere where a run has no pseudo labels. Of a city that a run does without, the
    tensors are empty.
    """

    x_s: Tensor
    y_s: Tensor
    x_t: Tensor
    y_t: Tensor


class Draws(Dataset[Batch]):
    """Draw k of the run: a source image with its label and a target image, augmented, uint8."""

    def __init__(
        self,
        source: LabelledImages | None,
        target: Target | None,
        augment_s: Augment,
        augment_t: Augment,
        seed: int,
    ) -> None:
        self.source, self.target = source, target
        self.augment_s, self.augment_t = augment_s, augment_t
        self.seed = seed

    def __getitem__(self, k: int) -> Batch:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_mix(self.seed, k))
            return Batch(*self._source(k), *self._target(k))

    def _source(self, k: int) -> tuple[Tensor, Tensor]:
        if self.source is None:
            return _NOTHING, _NOTHING
        i = _shuffled(len(self.source), self.seed, k)
        return _both(self.augment_s, self.source.image(i), self.source.label(i))

    def _target(self, k: int) -> tuple[Tensor, Tensor]:
        if self.target is None:
            return _NOTHING, _NOTHING
        j = _shuffled(len(self.target), self.seed + 1, k)
        image = self.target.image(j)
        label = np.full(image.shape[:2], IGNORE, np.uint8)
        if isinstance(self.target, PseudoLabelled):
            label = self.target.label(j)
        return _both(self.augment_t, image, label)


def _both(
    augment: Augment, image: UInt8[np.ndarray, "h w 3"], label: UInt8[np.ndarray, "h w"]
) -> tuple[Tensor, Tensor]:
    x, y = augment(image, label)
    assert y is not None
    return x, y


def make_draws(run: Run, source: LabelledImages | None, target: Target | None) -> Draws:
    """The draws of a run: sizes and augmentation as its settings say; None: a city not drawn."""
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

    return Draws(source, target, augment(source_size), augment(size), run.seed)


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
    )
    return iter(loader)


def _leave_interrupts_to_the_parent(_: int) -> None:
    """Ctrl-C reaches all processes; the loop still wants batches to end its step with."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _shuffled(n: int, seed: int, k: int) -> int:
    """Position k of an endless sequence of permutations of 0..n-1."""
    epoch, at = divmod(k, n)
    return int(np.random.default_rng((seed, epoch)).permutation(n)[at])


def _mix(seed: int, k: int) -> int:
    return int(np.random.SeedSequence((seed, k)).generate_state(1, np.uint64)[0] >> 1)


def _shape(image: UInt8[np.ndarray, "h w 3"]) -> tuple[int, int]:
    return image.shape[0], image.shape[1]
