"""The graphs of a bundle that answer with an image: its reconstructor and its translator."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from export.bundle import RECONSTRUCTOR, TRANSLATOR, Bundle
from roadshift import Failure
from serve.runtime.graph import Graph


class ImageGraph(Graph):
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


class Reconstructor(ImageGraph):
    """A bundle's reconstructor; see Graph for the arguments and for what is raised."""

    file = RECONSTRUCTOR
    given = ("labels", "UINT8")
    output = "image"
    answers = frozenset({("image", "UINT8")})
    channels = ()
    takes = "label maps"
    kind = "reconstructor"
    does = "rebuilds"
    about = "The image that a label map (labels, UINT8 [N,H,W]) stands for"
    golden_text = "the worst golden image is rebuilt to {:.1f} dB"

    def rebuild(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """RGB [n,h,w,3] drawn of class ids [n,h,w] (255: no class); raises like `run`."""
        return self.draw(labels)


class Translator(ImageGraph):
    """A bundle's translator; see Graph for the arguments and for what is raised."""

    file = TRANSLATOR
    given = ("image", "UINT8")
    output = "translated"
    answers = frozenset({("translated", "UINT8")})
    channels = (3,)
    takes = "images"
    kind = "translator"
    does = "translates"
    about = "The image (image, UINT8 [N,H,W,3], RGB) in the colours of the city it was trained on"
    golden_text = "the worst golden image is translated to {:.1f} dB"

    def translate(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """RGB [n,h,w,3] in the source's colours of images uint8 [n,h,w,3]; raises like `run`."""
        return self.draw(images)


def reconstructor_of(
    bundle: Bundle, *, provider: str = "cpu", threads: int = 0
) -> Reconstructor | None:
    """The bundle's reconstructor, or None where it has none; raises like Graph."""
    if RECONSTRUCTOR not in bundle.files:
        return None
    return Reconstructor(bundle, provider=provider, threads=threads)


def image_graphs_of(bundle: Bundle, *, provider: str = "cpu", threads: int = 0) -> list[ImageGraph]:
    """The reconstructor and the translator, where the bundle has them; raises like Graph."""
    return [
        graph(bundle, provider=provider, threads=threads)
        for graph in (Reconstructor, Translator)
        if graph.file in bundle.files
    ]


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Peak signal to noise ratio of two pictures of one shape, in decibels; inf when equal."""
    error = float(np.mean(np.square(a.astype(np.float32) - b)))
    return 10 * math.log10(255**2 / error) if error else math.inf
