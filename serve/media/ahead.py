"""Frames from another thread: the next one while this one is at work, or the newest alone."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Picture = NDArray[np.uint8]


class Taken(NamedTuple):
    """A frame RGB [h,w,3], and how many between it and the one before were never taken."""

    frame: Picture
    missed: int = 0


def ahead(items: Iterator[T]) -> Generator[T]:
    """The same items: while one is at work here, another thread makes the next one."""
    done = object()
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, done)
        while (item := coming.result()) is not done:
            coming = pool.submit(next, items, done)
            yield item  # type: ignore[misc]


def newest(frames: Iterator[Picture], stopped: threading.Event) -> Generator[Taken]:
    """Each time the newest frame, taken or waited for: nothing piles up where one takes long.

    A thread takes all `frames` as they come, until they end or `stopped` is set; what it raises is
    raised here, behind the last frame.
    """
    changed, held, missed, ended = threading.Condition(), list[Picture](), 0, False

    def read() -> None:
        nonlocal missed, ended
        try:
            for frame in frames:
                with changed:
                    missed += len(held)
                    held[:] = [frame]
                    changed.notify()
                if stopped.is_set():
                    break
        finally:
            with changed:
                ended = True
                changed.notify()

    with ThreadPoolExecutor(1, thread_name_prefix="camera") as pool:
        reading = pool.submit(read)
        try:
            while True:
                with changed:
                    changed.wait_for(lambda: held or ended)
                    if not held:
                        return reading.result()
                    frame, before, missed = held.pop(), missed, 0
                yield Taken(frame, before)
        finally:
            stopped.set()
