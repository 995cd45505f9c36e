"""Where the pixels of an axis lie between low-resolution values along it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

CHUNK = 1 << 17
"""Pixels worked on at a time: as many as a core's cache of 2 MB holds what is computed of."""
Ints = NDArray[np.intp]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Axis:
    """Pixels in groups: those of one group lie between the same two values, `lower` and `upper`."""

    lower: Ints
    upper: Ints
    start: Ints
    """The group's first pixel."""
    count: Ints
    """The group's pixels."""
    fraction: Floats
    """Of every pixel, not of every group: how far it is from the lower value to the upper, 0..1."""

    def part(self, first: int, last: int) -> Axis:
        """The groups from `first` up to but without `last`."""
        k = slice(first, last)
        return Axis(self.lower[k], self.upper[k], self.start[k], self.count[k], self.fraction)

    @cached_property
    def table(self) -> Floats:
        """The fractions as [pixel in the group,group], the last pixel's also past the group's end.

        [pixel,1] where the groups have the same ones.
        """
        pixel = np.arange(int(self.count.max()))[:, None]
        table = self.fraction[self.start + np.minimum(pixel, self.count - 1)]
        # Between a value and itself every fraction gives the same.
        between = self.lower != self.upper
        table[:, ~between] = table[:, [int(np.argmax(self.count * between))]]
        return table[:, :1] if (table == table[:, :1]).all() else table

    @cached_property
    def unit(self) -> int:
        """How many pixels (1, 2, 4 or 8) every group begins and ends at a multiple of."""
        return int(np.gcd.reduce([8, len(self.fraction), *self.start, *self.count]))


@lru_cache(32)
def axis(small: int, large: int, align_corners: bool) -> Axis:
    """Where `large` pixels lie between `small` values."""
    at = np.arange(large, dtype=np.float32)
    # In float32 and in this order, as torch computes it: the fractions are the same numbers.
    if align_corners:
        at *= np.float32((small - 1) / max(large - 1, 1))
    else:
        at = (at + np.float32(0.5)) * np.float32(small / large) - np.float32(0.5)
    floor = np.minimum(np.floor(at).astype(np.intp), small - 1)
    start = np.flatnonzero(np.diff(floor, prepend=-2))
    lower = floor[start]
    return Axis(
        np.maximum(lower, 0),
        np.minimum(lower + 1, small - 1),
        start,
        np.diff(start, append=large),
        at - floor.astype(np.float32),
    )
