"""What a bundle's graphs that answer with a picture share."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from roadshift import Failure
from serve.graph import Graph


class Drawing(Graph):
    """A graph with one output, an image; see Graph for the arguments and for what is raised."""

    output: ClassVar[str]
    """The image's name in the graph."""
    kind: ClassVar[str]
    """What it is, in the served name and in the bundle's checks."""
    does: ClassVar[str]
    """What it does to a golden image, for people."""

    @property
    def name(self) -> str:
        """The bundle's name and what it is."""
        return f"{self.bundle.name}-{self.kind}"

    @property
    def first(self) -> tuple[str, ...]:
        """The image."""
        return (self.output,)

    def draw(self, given: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """RGB [n,h,w,3] drawn of what the graph takes; raises like `run`."""
        return self.run(given, [self.output])[self.output]

    def check_golden(self) -> float:
        """The worst golden image's PSNR in decibels (inf: all are equal); Failure for too few."""
        golden = self.bundle.golden_drawn(self.file)
        worst = min(psnr(self.draw(given[None])[0], image) for given, image in golden)
        least = float(self.bundle.checks[self.kind]["min_psnr"])
        if worst < least:
            raise Failure(
                f"on this device bundle {self.bundle.name} {self.does} a golden image to "
                f"{worst:.1f} dB; wanted {least:g}: use another provider, or export the run again"
            )
        return worst


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Peak signal to noise ratio of two pictures of one shape, in decibels; inf when equal."""
    error = float(np.mean(np.square(a.astype(np.float32) - b)))
    return 10 * math.log10(255**2 / error) if error else math.inf
