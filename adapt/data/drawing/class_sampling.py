"""Rare-class sampling (Hoyer, Dai, Van Gool, "DAFormer", CVPR 2022, section 3.2).

A class is drawn with P(c) ~ exp((1 - f_c) / T), f_c being its share of all labelled pixels; then an
image that holds enough of it. Classes that hardly occur are so seen early and often.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from adapt.data.classes import IGNORE
from adapt.data.images import LabelledImages
from adapt.data.scan_report import cache_path
from roadshift import replacing

TEMPERATURE = 0.01
LEAST = 0.005
"""of an image's pixels, so that a class counts as held: the authors' 3,000 of 1024x512"""


@dataclass(frozen=True, eq=False)
class RareClasses:
    """How often each class is drawn, and the images that hold it."""

    odds: NDArray[np.float64]
    """[c], summing to 1; 0 for a class that no image holds"""
    holders: list[NDArray[np.int64]]
    """of each class the images with enough of it, or with any where none has enough"""

    @classmethod
    def of(cls, data: LabelledImages) -> RareClasses:
        """From the pixels of every class in every label, counted once and kept in the cache.

        Raises UserError for a label that cannot be read.
        """
        return cls.from_shares(_shares(data))

    @classmethod
    def from_shares(cls, shares: NDArray[np.float64]) -> RareClasses:
        """From the share of each image's labelled pixels that each class has: [images, c]."""
        occurs = shares.max(0) > 0
        frequency = shares.sum(0) / max(shares.sum(), 1e-12)
        weight = np.exp((1 - frequency - (1 - frequency)[occurs].max()) / TEMPERATURE) * occurs
        enough = [shares[:, c] >= min(LEAST, shares[:, c].max()) for c in range(shares.shape[1])]
        holders = [np.flatnonzero(held & (shares[:, c] > 0)) for c, held in enumerate(enough)]
        return cls(weight / weight.sum(), holders)

    def draw(self) -> int:
        """The index of an image; from torch's global generator."""
        c = int(torch.multinomial(torch.from_numpy(self.odds), 1))
        return int(self.holders[c][int(torch.randint(len(self.holders[c]), ()))])


def _shares(data: LabelledImages) -> NDArray[np.float64]:
    """[images, c]; a row of zeros for an image without a labelled pixel."""
    path = cache_path(data.fingerprint).with_suffix(".classes.json")
    if path.is_file():
        found = np.asarray(json.loads(path.read_text()), np.float64)
        if found.shape == (len(data), len(data.classes)):
            return found
    rows: list[list[float]] = []
    for i in track(range(len(data)), "counting the source's classes"):
        label = data.label(i)
        counts = np.bincount(label[label != IGNORE], minlength=len(data.classes))
        rows.append([round(float(n), 6) for n in counts / max(int(counts.sum()), 1)])
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(rows))
    return np.asarray(rows, np.float64)
