"""Labels of low-resolution logits where most cells have a class border: by plain interpolation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serve.runtime.exact_labels.pixel_axis import CHUNK, Axis, Floats


def best(logits: Floats) -> NDArray[np.uint8]:
    """The first of the largest classes of logits [c,...], uint8 [...]; faster than numpy's."""
    most = logits[0].copy()
    label = np.zeros(most.shape, np.uint8)
    larger, found = np.empty(most.shape, np.bool_), np.empty(most.shape, np.uint8)
    for k in range(1, len(logits)):
        np.greater(logits[k], most, out=larger)
        np.maximum(logits[k], most, out=most)
        np.multiply(larger.view(np.uint8), np.uint8(k), out=found)
        np.maximum(found, label, out=label)
    return label


def fill_densely(logits: Floats, axes: tuple[Axis, Axis], labels: NDArray[np.uint8]) -> None:
    """Writes the axes' pixels into labels [h,w], of logits [c,hs,ws]; some rows at a time."""
    rows, columns = axes
    step = max(1, CHUNK // int(rows.count.max() * labels.shape[1]))
    down = np.broadcast_to(rows.table, (len(rows.table), len(rows.start))).T[:, :, None]
    for k in range(0, len(rows.start), step):
        part = rows.part(k, k + step)
        found = _labels(logits, (part, columns), down[k : k + step])
        for group, (start, count) in enumerate(zip(part.start, part.count, strict=True)):
            labels[start : start + count] = found[group, :count]


def _labels(logits: Floats, axes: tuple[Axis, Axis], down: Floats) -> NDArray[np.uint8]:
    """The labels uint8 [group,row in the group,w]; `down` [group,row,1] are the rows' fractions."""
    rows, columns = axes
    left, right = (np.repeat(x, columns.count) for x in (columns.lower, columns.upper))
    value = np.empty((*down.shape[:2], len(left)), np.float32)
    most, label = np.full_like(value, -np.inf), np.zeros(value.shape, np.uint8)
    larger, found = np.empty(value.shape, np.bool_), np.empty_like(label)
    base = int(rows.lower[0])
    near = logits[:, base : int(rows.upper[-1]) + 1]
    for k, plane in enumerate(near):
        west, east = plane.take(left, 1), plane.take(right, 1)
        line = west + (east - west) * columns.fraction
        upper, lower = line.take(rows.lower - base, 0), line.take(rows.upper - base, 0)
        np.multiply((lower - upper)[:, None], down, out=value)
        np.add(value, upper[:, None], out=value)
        np.greater(value, most, out=larger)
        np.maximum(value, most, out=most)
        np.multiply(larger.view(np.uint8), np.uint8(k), out=found)
        np.maximum(found, label, out=label)
    return label
