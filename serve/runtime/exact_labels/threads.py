"""The host's own work on several cores, and how numpy is to do it."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def cores(threads: int) -> int:
    """How many threads are meant; 0 is one a core."""
    return threads or os.cpu_count() or 1


def in_threads(work: Callable[[T], None], tasks: Sequence[T], threads: int) -> None:
    """Does the tasks, in that many threads at once (0: one a core)."""
    if cores(threads) == 1:
        for task in tasks:
            work(task)
    else:
        list(_pool(cores(threads)).map(work, tasks))


@lru_cache(4)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="labels")


@contextmanager
def settings() -> Generator[None]:
    """How numpy is to work here.

    NaN and infinities are the caller's; rows shorter than numpy's buffer would be copied through
    it, at three times the cost.
    """
    before = np.setbufsize(16)
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        np.setbufsize(before)
