"""How sure low-resolution logits are at full size, some rows at a time.

In the graph the upsampled logits of all classes are there at once, several times over: 19 classes
of 4096x4096 are 1.3 GB. Here a few rows of them are, in a core's cache.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serve.runtime.exact_labels.pixel_axis import Axis, Floats, Ints, axis
from serve.runtime.exact_labels.threads import cores, in_threads, settings

CHUNK = 1 << 18
"""Upsampled logits worked on at a time, of all classes together."""


def confidence_at(
    logits: Floats, size: tuple[int, int], align_corners: bool, threads: int = 0
) -> NDArray[np.uint8]:
    """The largest softmax probability times 255, rounded, of logits float32 [n,c,hs,ws] that are
    upsampled bilinearly to `size` (h, w): uint8 [n,h,w].

    `threads` are how many work on it (0: one a core). The graph's confidence, but where float
    rounding decides which level is the nearest.
    """
    n, _, hs, ws = logits.shape
    logits = np.ascontiguousarray(logits, np.float32)
    rows, columns = axis(hs, size[0], align_corners), axis(ws, size[1], align_corners)
    found = np.empty((n, *size), np.uint8)
    parts = min(size[0], cores(threads))

    def fill(task: tuple[int, int]) -> None:
        i, part = task
        of = slice(size[0] * part // parts, size[0] * (part + 1) // parts)
        with settings():
            _Rows(logits[i], rows, columns).write(found[i], of)

    in_threads(fill, [(i, part) for i in range(n) for part in range(parts)], threads)
    return found


class _Rows:
    """Some rows of a frame's confidence at a time, in buffers that are made once: new ones, of a
    megabyte each, would cost more time than what is computed in them."""

    def __init__(self, logits: Floats, rows: Axis, columns: Axis) -> None:
        c, w = len(logits), len(columns.fraction)
        self._logits, self._across, self._down = logits, columns.fraction, rows.fraction[:, None]
        self._left, self._right = (np.repeat(x, columns.count) for x in _sides(columns))
        self._above, self._below = (np.repeat(y, rows.count) for y in _sides(rows))
        self._step = max(1, CHUNK // (c * w))
        self._buffers = np.empty((2, c * self._step * w), np.float32)

    def write(self, found: NDArray[np.uint8], rows: slice) -> None:
        """Writes those rows of the frame's confidence [h,w]."""
        for y in range(rows.start, rows.stop, self._step):
            part = slice(y, min(y + self._step, rows.stop))
            found[part] = self._sure(part)

    def _sure(self, rows: slice) -> NDArray[np.uint8]:
        above, below = (self._logits.take(y[rows], 1) for y in (self._above, self._below))
        low = above + (below - above) * self._down[rows]  # [c,rows,ws]
        shape = (*low.shape[:2], len(self._across))
        value, right = (flat[: np.prod(shape)].reshape(shape) for flat in self._buffers)
        low.take(self._left, 2, out=value, mode="clip")  # "raise" would copy
        low.take(self._right, 2, out=right, mode="clip")
        right -= value
        right *= self._across
        value += right
        value -= value.max(0)
        np.exp(value, out=value)
        return np.rint(np.float32(255) / value.sum(0)).astype(np.uint8)


def _sides(of: Axis) -> tuple[Ints, Ints]:
    return of.lower, of.upper
