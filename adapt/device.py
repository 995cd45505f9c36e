"""The device, the precision and the processes that a run asks for."""

from __future__ import annotations

import ctypes
import sys

import torch
from lightning.fabric import Fabric

from adapt.run import Run
from roadshift import UserError


def make_fabric(run: Run) -> Fabric:
    """The device, the precision and the processes a run asks for; UserError if not there."""
    if run.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no CUDA device here; use --device cpu")
    cuda = run.device != "cpu" and torch.cuda.is_available()
    if run.batch_norm == "sync" and not cuda:
        raise UserError("--batch-norm sync needs CUDA devices; use train or frozen on the CPU")
    if run.threads:
        torch.set_num_threads(run.threads)
    if not cuda:
        keep_freed_memory()
    return Fabric(
        accelerator="cuda" if cuda else "cpu",
        devices=run.devices,
        strategy="ddp" if run.devices > 1 else "auto",
        precision="bf16-mixed" if run.precision == "bf16" else "32-true",
    )


def keep_freed_memory() -> None:
    """Have glibc reuse a step's large tensors in the next one instead of giving the pages back.

    Otherwise every large tensor is mapped anew and the kernel zeroes its pages: an eighth of a
    training step on a CPU (bench/train_speed.py). Elsewhere than on glibc this does nothing.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""malloc.h's numbers"""
