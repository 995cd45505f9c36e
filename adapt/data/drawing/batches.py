"""Batches of both cities: what a step is given, and the loader that joins draws to them."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from adapt.run import Run

NOTHING = torch.empty(0, dtype=torch.uint8)
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
    w_t: Tensor = NOTHING
    """[n, h, w]: how much a pseudo label counts, 0..1"""
    x_t_strong: Tensor = NOTHING
    """the same crops as `x_t`, their colours and sharpness changed; `x_t` then has its own"""
    v_s: Tensor = NOTHING
    """[n, k] float: what is known of whole source images, as shares of the classes"""
    v_t: Tensor = NOTHING
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


def batches(draws: Dataset[Batch], run: Run, *, start: int, rank: int) -> Iterator[Batch]:
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


def _leave_interrupts_to_the_parent(_: int) -> None:
    """Ctrl-C reaches all processes; the loop still wants batches to end its step with."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
