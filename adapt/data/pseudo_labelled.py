"""Target images with the pseudo labels that a network of this run gave them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from adapt.data.datasets import Images
from roadshift import UserError


@dataclass(frozen=True, eq=False)
class PseudoLabelled:
    """Target images and what a network of this run, not a person, took their classes to be."""

    images: Images
    labels: Sequence[Path]
    """of each image a PNG of class indices, 255 where the network was not sure"""

    confidence: Sequence[Path] = ()
    """of each image a PNG, 255 where the network was certain; empty: nothing is weighted"""

    def __len__(self) -> int:
        return len(self.images)

    def image(self, i: int) -> UInt8[np.ndarray, "h w 3"]:
        return self.images.image(i)

    def label(self, i: int) -> UInt8[np.ndarray, "h w"]:
        """Raises UserError for a file that is missing or damaged."""
        return _read(self.labels[i])

    def maps(self, i: int) -> Iterator[UInt8[np.ndarray, "h w"]]:
        """The label, and where there is one the confidence; raises like `label`."""
        yield self.label(i)
        if self.confidence:
            yield _read(self.confidence[i])


def _read(path: Path) -> UInt8[np.ndarray, "h w"]:
    found = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if found is None:
        raise UserError(f"{path} cannot be read; delete its folder, and it is made again")
    return found.astype(np.uint8, copy=False)


Target = Images | PseudoLabelled
