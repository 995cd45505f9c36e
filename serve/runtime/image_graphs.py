"""The graphs of a bundle that answer with an image, as the reconstructor and the translator do."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from export.bundle import Bundle, GraphSpec
from export.bundle.graphs import drawing_graphs
from roadshift import Failure
from serve.runtime.graph import Graph
from serve.runtime.psnr import psnr


class ImageGraph(Graph):
    """A graph with one output, an image; see Graph for the arguments and for what is raised."""

    def __init__(
        self, bundle: Bundle, spec: GraphSpec, *, provider: str = "cpu", threads: int = 0
    ) -> None:
        self.spec, self.file = spec, spec.file
        self.golden_text = f"the worst golden image is {spec.golden} to {{:.1f}} dB"
        super().__init__(bundle, provider=provider, threads=threads)

    @property
    def first(self) -> tuple[str, ...]:
        """The image."""
        return (self.spec.output,)

    def draw(self, given: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """RGB [n,h,w,3] drawn of what the graph takes; raises like `run`."""
        return self.run(given, self.first)[self.spec.output]

    def check_golden(self) -> float:
        """The worst golden image's PSNR in decibels (inf: all are equal), in batches of two and the
        first also alone; Failure for too few."""
        golden = self.bundle.golden_drawn(self.spec)
        drawn = self.in_batches([one.given for one in golden], 2, self.first)
        drawn += self.in_batches([golden[0].given], 1, self.first)
        images = [one.image for one in (*golden, golden[0])]
        pairs = zip(drawn, images, strict=True)
        worst = min(psnr(found[self.spec.output], image) for found, image in pairs)
        least = float(self.bundle.checks[self.spec.kind]["min_psnr"])
        if not worst >= least:
            raise Failure(
                f"on this device bundle {self.bundle.name} {self.spec.does} a golden image to "
                f"{worst:.1f} dB; wanted {least:g}: use another provider, or export the run again"
            )
        return worst


def image_graph_of(
    bundle: Bundle, spec: GraphSpec, *, provider: str = "cpu", threads: int = 0
) -> ImageGraph | None:
    """The bundle's graph of that row, or None where it has none; raises like Graph."""
    if spec.file not in bundle.files:
        return None
    return ImageGraph(bundle, spec, provider=provider, threads=threads)


def image_graphs_of(bundle: Bundle, *, provider: str = "cpu", threads: int = 0) -> list[ImageGraph]:
    """All that draw, in the order of the table of graphs; raises like Graph."""
    found = (
        image_graph_of(bundle, spec, provider=provider, threads=threads)
        for spec in drawing_graphs()
    )
    return [graph for graph in found if graph is not None]
