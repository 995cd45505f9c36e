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

from adapt.augment import Augment
from adapt.datasets import Images, LabelledImages
from adapt.run import Run, parse_size


class Batch(NamedTuple):
    """Source images and labels, target images: `x_s`, `y_s`, `x_t`; there is no target label."""

    x_s: Tensor
    y_s: Tensor
    x_t: Tensor


class Draws(Dataset[Batch]):
    """Draw k of the run: a source image with its label and a target image, augmented, uint8."""

    def __init__(
        self,
        source: LabelledImages,
        target: Images,
        augment_s: Augment,
        augment_t: Augment,
        seed: int,
    ) -> None:
        self.source, self.target = source, target
        self.augment_s, self.augment_t = augment_s, augment_t
        self.seed = seed

    def __getitem__(self, k: int) -> Batch:
        i = _shuffled(len(self.source), self.seed, k)
        j = _shuffled(len(self.target), self.seed + 1, k)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_mix(self.seed, k))
            x_s, y_s = self.augment_s(self.source.image(i), self.source.label(i))
            x_t, _ = self.augment_t(self.target.image(j), None)
        assert y_s is not None
        return Batch(x_s, y_s, x_t)


def make_draws(run: Run, source: LabelledImages, target: Images) -> Draws:
    """The draws of a run: sizes and augmentation as its settings say."""
    source_size, size = parse_size(run.source_size, "source-size"), parse_size(run.size, "size")
    crop = parse_size(run.crop, "crop") or _smaller(
        source_size or _shape(source.image(0)), size or _shape(target.image(0))
    )

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


def _smaller(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    return min(a[0], b[0]), min(a[1], b[1])
