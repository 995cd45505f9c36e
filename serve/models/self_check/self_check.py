"""A frame's score: how much better do its own labels explain it than those of other frames?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from export.bundle import Bundle
from export.bundle.graphs import RECONSTRUCTOR
from serve.models.self_check.structure import small, unexplained

UNUSUAL = 1.645
"""A score above it has one usual frame of twenty: the 95 % quantile of a normal distribution."""
_LEAST_STD = 0.02
"""The frames of an export are few, and may be of one street."""
_OTHERS = 4
_LEAST_REST = 0.01
"""A frame without any structure is explained by everything."""


class SelfChecked(NamedTuple):
    """What came of one frame."""

    score: float
    """Standard deviations above the mean of usual frames: the higher, the less is explained."""
    map: NDArray[np.float32]
    """See `unexplained`."""


def rest(
    image: NDArray[np.uint8], cells: NDArray[np.float32], others: Sequence[NDArray[np.uint8]]
) -> float:
    """What a frame's own drawing leaves unexplained (`cells`), in what drawings of other frames do.

    0: all is explained; 1: the labels fit the frame no better than those of another one. How busy a
    street is counts in both and so does not count.
    """
    least = float(np.mean([unexplained(image, other).mean() for other in others]))
    return float(cells.mean()) / max(least, _LEAST_REST)


def other_drawings(bundle: Bundle) -> list[NDArray[np.uint8]]:
    """What `rest` compares with: the first golden frames' labels as the reconstructor drew them."""
    return [small(one.image) for one in bundle.golden_drawn(RECONSTRUCTOR)[:_OTHERS]]


class SelfCheck:
    """Holds frames to what the `rest` of usual ones is by the bundle's export: mean and std."""

    def __init__(self, bundle: Bundle, mean: float, std: float) -> None:
        self.bundle, self.mean, self.std = bundle, mean, std

    @cached_property
    def others(self) -> list[NDArray[np.uint8]]:
        """Read once: by `prepare`, or when the first frame comes."""
        return other_drawings(self.bundle)

    def prepare(self) -> None:
        """Reads the golden drawings while the bundle's files are as they were checked."""
        _ = self.others

    def __call__(self, image: NDArray[np.uint8], drawn: NDArray[np.uint8]) -> SelfChecked:
        """Of an RGB image [h,w,3], and what the reconstructor drew of its labels [h,w,3]."""
        seen = small(image)
        cells = unexplained(seen, drawn)
        above = rest(seen, cells, self.others) - self.mean
        return SelfChecked(above / max(self.std, _LEAST_STD), cells)


def self_check_of(bundle: Bundle) -> SelfCheck | None:
    """That of a bundle with a reconstructor, if its export measured usual frames; else None."""
    usual = bundle.checks.get("self_check")
    if usual is None or RECONSTRUCTOR.file not in bundle.files:
        return None
    return SelfCheck(bundle, float(usual["mean"]), float(usual["std"]))
