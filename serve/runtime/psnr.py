"""How alike two pictures are: peak signal to noise ratio, in decibels."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

PEAK = 255


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Of two pictures of one shape; inf when they are equal."""
    return psnr_of_error(float(np.mean(np.square(a.astype(np.float32) - b))))


def psnr_of_error(mean_square: float) -> float:
    """Of the mean squared difference of their values; inf when that is 0."""
    return 10 * math.log10(PEAK**2 / mean_square) if mean_square else math.inf
