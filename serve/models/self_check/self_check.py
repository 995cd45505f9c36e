"""A frame's score against the scores of frames on which the bundle was made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from export.bundle import Bundle
from export.bundle.graphs import RECONSTRUCTOR
from serve.models.self_check.structure import unexplained

UNUSUAL = 1.645
"""A score above it has one usual frame of twenty: the 95 % quantile of a normal distribution."""
_LEAST_STD = 0.02
"""The frames of an export are few, and may be of one street."""


class SelfChecked(NamedTuple):
    """What came of one frame."""

    score: float
    """Standard deviations above the mean of usual frames: the higher, the less is explained."""
    map: NDArray[np.float32]
    """See `unexplained`."""


@dataclass(frozen=True)
class SelfCheck:
    """How much of usual frames is unexplained: mean and standard deviation of the maps' means."""

    mean: float
    std: float

    def __call__(self, image: NDArray[np.uint8], drawn: NDArray[np.uint8]) -> SelfChecked:
        """Of an RGB image [h,w,3], and what the reconstructor drew of its labels [h,w,3]."""
        cells = unexplained(image, drawn)
        return SelfChecked(float((cells.mean() - self.mean) / max(self.std, _LEAST_STD)), cells)


def self_check_of(bundle: Bundle) -> SelfCheck | None:
    """That of a bundle with a reconstructor, if its export measured usual frames; else None."""
    usual = bundle.checks.get("self_check")
    if usual is None or RECONSTRUCTOR.file not in bundle.files:
        return None
    return SelfCheck(float(usual["mean"]), float(usual["std"]))
