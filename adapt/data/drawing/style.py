"""Source images in the style of random target images: what --style does to a crop.

"statistics": mean and deviation of every channel become those of a target image, in CIELAB or RGB
(Reinhard, Ashikhmin, Gooch, Shirley, "Color Transfer between Images", 2001).
"fourier": the amplitudes of the lowest frequencies become those of a target crop (Yang, Soatto,
"FDA: Fourier Domain Adaptation for Semantic Segmentation", CVPR 2020).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray

from adapt.data.drawing.augment import Augment
from adapt.data.drawing.cache import Read

Picture = UInt8[np.ndarray, "h w 3"]
Kind = Literal["", "statistics", "fourier"]
Space = Literal["lab", "rgb"]
STRONGEST = 3.0
"""A deviation is multiplied by at most this: a grey wall does not become noise."""


class Moments(NamedTuple):
    """Of one whole image, by channel of the colour space, in grey levels 0..255."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Style:
    """Restyles source crops; random numbers come from torch's global generator."""

    kind: Kind
    space: Space
    share: float
    """of the crops that are restyled"""
    beta: float
    """of the shorter side, within which amplitudes are exchanged on either side of frequency 0"""
    source: Read
    target: Read
    targets: int
    augment_t: Augment
    """cuts the target's crops for "fourier" """
    seen: dict[tuple[str, int], Moments] = field(default_factory=dict[tuple[str, int], Moments])

    def __call__(self, crop: Picture, i: int) -> Picture:
        """A crop of source image i, restyled or as it was."""
        if float(torch.rand(())) >= self.share:
            return crop
        j = int(torch.randint(self.targets, ()))
        if self.kind == "fourier":
            return with_amplitudes(crop, self.augment_t(self.target(j))[0], self.beta)
        return with_moments(crop, self._of("source", i), self._of("target", j), self.space)

    def _of(self, city: str, i: int) -> Moments:
        if (city, i) not in self.seen:
            read = self.source if city == "source" else self.target
            self.seen[city, i] = moments(read(i), self.space)
        return self.seen[city, i]


def moments(image: Picture, space: Space) -> Moments:
    """Mean and deviation of every channel."""
    mean, deviation = cv2.meanStdDev(_to(image, space))
    return Moments(np.asarray(mean[:, 0], np.float64), np.asarray(deviation[:, 0], np.float64))


def with_moments(crop: Picture, own: Moments, other: Moments, space: Space) -> Picture:
    """A crop of an image with the moments `own`, moved to where the other image's lie."""
    gain = np.minimum(other.deviation / np.maximum(own.deviation, 1e-6), STRONGEST)
    levels = np.arange(256)[:, None]
    table = ((levels - own.mean) * gain + other.mean).round().clip(0, 255).astype(np.uint8)
    moved = cv2.LUT(_to(crop, space), table[None]).astype(np.uint8, copy=False)
    return _to(moved, space, back=True)


def with_amplitudes(crop: Picture, other: Picture, beta: float) -> Picture:
    """The crop with the other crop's low-frequency amplitudes, and its own phases.

    Both have one size; the window is 2 b + 1 frequencies wide, b = floor(beta * shorter side).
    """
    b = int(beta * min(crop.shape[:2]))
    own, seen = (np.fft.fft2(x.astype(np.float64), axes=(0, 1)) for x in (crop, other))
    low = np.arange(-b, b + 1)
    window = np.ix_(low, low)
    phase = np.exp(1j * np.angle(own[window]))
    own[window] = np.abs(seen[window]) * phase
    restyled = np.fft.ifft2(own, axes=(0, 1)).real
    return restyled.round().clip(0, 255).astype(np.uint8)


def _to(image: Picture, space: Space, *, back: bool = False) -> Picture:
    if space == "rgb":
        return image
    how = cv2.COLOR_LAB2RGB if back else cv2.COLOR_RGB2LAB
    return cv2.cvtColor(image, how).astype(np.uint8, copy=False)
