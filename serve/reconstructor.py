"""Labels in, an image out: a bundle's reconstructor on one device."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from export.bundle import RECONSTRUCTOR, Bundle
from roadshift import Failure
from serve.graph import Graph


class Reconstructor(Graph):
    """A bundle's reconstructor; see Graph for the arguments and for what is raised."""

    file = RECONSTRUCTOR
    given = ("labels", "UINT8")
    answers = frozenset({("image", "UINT8")})
    channels = ()
    takes = "label maps"
    golden_text = "the worst golden image is rebuilt to {:.1f} dB"

    @property
    def name(self) -> str:
        """The bundle's name and what it is."""
        return f"{self.bundle.name}-reconstructor"

    def rebuild(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """RGB [n,h,w,3] drawn of class ids [n,h,w] (255: no class); raises like `run`."""
        return self.run(labels, ["image"])["image"]

    def check_golden(self) -> float:
        """The worst golden image's PSNR in decibels (inf: all are equal); Failure for too few."""
        worst = min(
            psnr(self.rebuild(labels[None])[0], image)
            for labels, image in self.bundle.golden_rebuilt()
        )
        least = float(self.bundle.checks["reconstructor"]["min_psnr"])
        if worst < least:
            raise Failure(
                f"on this device bundle {self.bundle.name} rebuilds a golden image to "
                f"{worst:.1f} dB; wanted {least:g}: use another provider, or export the run again"
            )
        return worst


def opened(bundle: Bundle, *, provider: str = "cpu", threads: int = 0) -> Reconstructor | None:
    """The bundle's reconstructor, or None where it has none."""
    if not bundle.has_reconstructor:
        return None
    return Reconstructor(bundle, provider=provider, threads=threads)


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Peak signal to noise ratio of two pictures of one shape, in decibels; inf when equal."""
    error = float(np.mean(np.square(a.astype(np.float32) - b)))
    return 10 * math.log10(255**2 / error) if error else math.inf
