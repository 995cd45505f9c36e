"""Where labels differ, by how sure torch was: its margin between the two best logits."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MARGINS = (0.1, 0.5, 1.0, 2.0, 4.0, math.inf)
"""Upper ends of the ranges of torch's margin (best logit less the second) that are told apart."""


class MarginShare(NamedTuple):
    """Of the pixels whose margin lies below `below` (None: any) and not in the range before.

    `share` (0..1) of all pixels, and of these how many (0..1) have torch's label; None for none.
    """

    below: float | None
    share: float
    agreement: float | None


def by_margin(margin: Tensor, same: Tensor) -> NDArray[np.int64]:
    """For each range of margins how many pixels there are, and how many of them are equal."""
    inner = torch.tensor(MARGINS[:-1], dtype=margin.dtype)
    which = torch.bucketize(margin, inner, right=True).flatten()
    pixels = torch.bincount(which, minlength=len(MARGINS))
    equal = torch.bincount(which[same.flatten()], minlength=len(MARGINS))
    return torch.stack([pixels, equal], 1).numpy()


def margin_shares(counts: NDArray[np.int64]) -> tuple[MarginShare, ...]:
    total = counts[:, 0].sum()
    return tuple(
        MarginShare(
            None if math.isinf(below) else below,
            float(pixels / total),
            float(equal / pixels) if pixels else None,
        )
        for below, (pixels, equal) in zip(MARGINS, counts, strict=True)
    )
