"""Labels inside the cells between four logits whose largest classes differ.

Only classes that can win somewhere in a cell are interpolated: those that are the largest at a
corner, and those that reach the mean of these (at most four) classes at some corner. A class that
is below the mean at every corner is below it in the whole cell, and so below one of the four.

The cells are worked on in chunks that stay in a core's cache, those with the most candidates first:
then the k-th candidates are those of the first cells, and their pixels lie side by side.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from serve.runtime.exact_labels.pixel_axis import CHUNK, Axis, Floats, Ints


def refine(
    logits: Floats,
    axes: tuple[Axis, Axis],
    cells: tuple[Ints, Ints],
    largest: NDArray[np.uint8],
    labels: NDArray[np.uint8],
) -> None:
    """Writes the cells' pixels into labels [h,w].

    `logits` [c,hs,ws] are contiguous, `axes` those of rows and columns. A cell lies between a group
    of each, the numbers of which `cells` gives; `largest` [4,cells] are its corners' classes.
    """
    rows, columns = axes
    c, _, width = logits.shape
    plane = logits.reshape(c, -1)
    step = max(1, CHUNK // int(rows.count.max() * columns.count.max()))
    for k in range(0, len(cells[0]), step):
        row, column = cells[0][k : k + step], cells[1][k : k + step]
        ys = [y[row] * width for y in (rows.lower, rows.upper)]
        xs = [x[column] for x in (columns.lower, columns.upper)]
        values = plane.take(np.stack([y + x for y in ys for x in xs]), 1)
        wins = _candidates(values, largest[:, k : k + step])
        order = np.argsort(-np.count_nonzero(wins, 0), kind="stable")
        pixels = _Pixels(axes, row[order], column[order], labels.shape[1])
        pixels.write(_winners(_ranked(values, wins, order), pixels), labels)


def _candidates(values: Floats, largest: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether a class with these values [c,4,cells] at the corners may win in a cell: [c,cells]."""
    m = values.shape[2]
    at = largest[:, None] * np.intp(4 * m) + np.arange(4 * m).reshape(4, m)
    first, second, third, fourth = values.reshape(-1).take(at)
    mean = 0.25 * ((first + second) + (third + fourth))
    wins = values[:, 0] >= mean[0]
    for corner in range(1, 4):
        wins |= values[:, corner] >= mean[corner]
    wins[largest, np.arange(m)] = True  # also where there is a NaN
    return wins


class _Ranked(NamedTuple):
    """The candidates of cells in increasing order; the cells are ordered by how many they have."""

    classes: list[NDArray[np.uint8]]
    """The k-th candidate of each cell that has so many."""
    leads: list[Floats]
    """By how much the (k+1)-th candidate exceeds the first one at the corners, [4,cells]."""


def _ranked(values: Floats, wins: NDArray[np.bool_], order: Ints) -> _Ranked:
    m = values.shape[2]
    of_cell, found = np.nonzero(np.ascontiguousarray(wins.T).take(order, 0))
    count = np.bincount(of_cell)
    first, fewer = np.cumsum(count) - count, -count
    at = np.arange(4)[:, None] * m + order  # in the values of one class
    classes: list[NDArray[np.uint8]] = []
    leads: list[Floats] = []
    for k in range(int(count[0])):
        some = int(np.searchsorted(fewer, -k))
        label = found.take(first[:some] + k)
        classes.append(label.astype(np.uint8))
        leads.append(values.reshape(-1).take(label * (4 * m) + at[:, :some]))
    return _Ranked(classes, [z - leads[0][:, : z.shape[1]] for z in leads[1:]])


class _Pixels:
    """The pixels of some cells: cell by cell along x, with as many rows as the largest cell."""

    def __init__(self, axes: tuple[Axis, Axis], row: Ints, column: Ints, width: int) -> None:
        rows, columns = axes
        self.count = columns.count[column]
        self.ends = np.cumsum(self.count)
        cell = np.repeat(np.arange(len(column)), self.count)
        x = np.arange(self.ends[-1]) + (columns.start[column] - self.ends + self.count)[cell]
        self.across = columns.fraction[x]
        self.down = rows.table if rows.table.shape[1] == 1 else rows.table.take(row[cell], 1)
        self.first = x + (rows.start[row] * width)[cell]
        self.last = (rows.count[row] - 1)[cell]
        self.width, self.unit = width, columns.unit

    def write(self, found: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        """Puts labels [row in the cell,pixel] into labels [h,w].

        What lies past a cell's last row repeats that row, and is written over it.
        """
        unit = self.unit  # pixels that always lie side by side are moved as one number
        kind = np.dtype(f"u{unit}")
        into, of = labels.reshape(-1).view(kind), found.view(kind)
        first, width = self.first[::unit] // unit, self.width // unit
        last = self.last[::unit]
        sure = int(last.min())
        for u in range(len(found)):
            if u <= sure:
                into[u * width :][first] = of[u]
            else:
                into[first + np.minimum(last, u) * width] = of[u]


def _winners(ranked: _Ranked, pixels: _Pixels) -> NDArray[np.uint8]:
    """The first of the largest candidates at every pixel, uint8 [row in the cell,pixel]."""
    classes, leads = ranked
    label = np.repeat(np.repeat(classes[0], pixels.count)[None], len(pixels.down), 0)
    most = np.zeros(label.shape, np.float32)  # the first one's lead over itself
    value, larger = np.empty_like(most), np.empty(label.shape, np.bool_)
    found = np.empty_like(label)
    for k, (lead, of_cell) in enumerate(zip(leads, classes[1:], strict=True)):
        count = pixels.count[: len(of_cell)]
        n = int(pixels.ends[len(of_cell) - 1])
        edges = np.stack([lead[::2], lead[1::2] - lead[::2]])  # [left and how much wider,2,cells]
        left, wider = np.repeat(edges, count, 2)
        upper, lower = left + wider * pixels.across[:n]
        v, m, g, f = value[:, :n], most[:, :n], larger[:, :n], found[:, :n]
        np.multiply(lower - upper, pixels.down[:, :n], out=v)
        np.add(v, upper, out=v)
        np.greater(v, m, out=g)
        if k + 1 < len(leads):
            np.maximum(v, m, out=m)
        np.multiply(g.view(np.uint8), np.repeat(of_cell, count), out=f)
        np.maximum(label[:, :n], f, out=label[:, :n])
    return label
