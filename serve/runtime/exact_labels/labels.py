"""Low-resolution logits straight to labels of full size, without upsampling the logits.

Between four neighbouring logits every bilinear value is a convex combination of the four. Where one
class is the largest at all four corners it is the largest in the whole cell, so only the cells on
class borders are interpolated (`border_cells`). Where these are most of all, as of noise,
everything is (`dense_labels`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from serve.runtime.exact_labels.border_cells import refine
from serve.runtime.exact_labels.dense_labels import best, fill_densely
from serve.runtime.exact_labels.pixel_axis import Axis, Floats, axis
from serve.runtime.exact_labels.threads import cores, in_threads, settings

MOST = 0.5
"""The share of border cells above which it is faster to interpolate all."""

ALONE = 1 << 20
"""Pixels in border cells up to which one thread is done before several have begun."""


def labels_at(
    logits: Floats, size: tuple[int, int], align_corners: bool, threads: int = 0
) -> NDArray[np.uint8]:
    """The classes of the largest values of logits float32 [n,c,hs,ws] upsampled to `size`.

    Gives uint8 [n,h,w]; `size` is (h, w), of any ratio to (hs, ws), and c is 1..255. `threads` is
    how many work on it where there is enough to do (0: one a core). Equal to the argmax of bilinear
    interpolation, ties to the lower class, but for pixels whose two best values differ by no more
    than float rounding. Around a NaN or an infinite logit the labels are some ids below c.
    """
    n, c, hs, ws = logits.shape
    assert 1 <= c <= 255 and min(n, hs, ws, *size) >= 1, "wanted logits [n,c,h,w], c 1..255"
    logits = np.ascontiguousarray(logits, np.float32)
    rows, columns = axis(hs, size[0], align_corners), axis(ws, size[1], align_corners)
    labels = np.empty((n, *size), np.uint8)
    classes = best(logits.swapaxes(0, 1))
    threads = cores(threads) if _borders(classes) * labels.size > ALONE else 1

    def fill(task: tuple[int, int, int]) -> None:
        i, first, last = task
        with settings():
            _fill((logits[i], classes[i]), rows.part(first, last), columns, labels[i])

    in_threads(fill, list(_tasks(n, len(rows.start), threads)), threads)
    return labels


def _tasks(n: int, groups: int, threads: int) -> Iterator[tuple[int, int, int]]:
    """Frame, first group of rows, and the one after the last: two a thread, to even them out."""
    parts = min(groups, max(1, -(-2 * threads // n))) if threads > 1 else 1
    for i in range(n):
        for k in range(parts):
            yield i, groups * k // parts, groups * (k + 1) // parts


def _borders(classes: NDArray[np.uint8]) -> float:
    """About which share of the cells has a class border."""
    across = np.count_nonzero(classes[:, :, 1:] != classes[:, :, :-1])
    down = np.count_nonzero(classes[:, 1:] != classes[:, :-1])
    return (across + down) / classes.size


def _fill(
    frame: tuple[Floats, NDArray[np.uint8]], rows: Axis, columns: Axis, labels: NDArray[np.uint8]
) -> None:
    """Writes those rows of the labels [h,w] of a frame's logits [c,hs,ws] and classes [hs,ws]."""
    logits, classes = frame
    above, below = classes.take(rows.lower, 0), classes.take(rows.upper, 0)
    corners = [row.take(x, 1) for row in (above, below) for x in (columns.lower, columns.upper)]
    first, *others = corners
    mixed = np.zeros(first.shape, np.bool_)
    for other in others:
        mixed |= first != other
    if mixed.mean() > MOST:
        fill_densely(logits, (rows, columns), labels)
        return
    begin, end = int(rows.start[0]), int(rows.start[-1] + rows.count[-1])
    labels[begin:end] = np.repeat(np.repeat(first, columns.count, 1), rows.count, 0)
    row, column = np.nonzero(mixed)
    refine(logits, (rows, columns), (row, column), np.stack([c[mixed] for c in corners]), labels)
