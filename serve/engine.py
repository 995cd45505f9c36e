"""Images in, labels out: a bundle's segmentor on one device."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from export.bundle import SEGMENTOR
from roadshift import Failure
from serve.graph import Graph


class Answer(NamedTuple):
    """Class ids, and where asked how sure they are (255: certain); both uint8 [n,h,w]."""

    labels: NDArray[np.uint8]
    confidence: NDArray[np.uint8] | None


class Engine(Graph):
    """A bundle's segmentor; see Graph for the arguments and for what is raised."""

    file = SEGMENTOR
    given = ("image", "UINT8")
    answers = frozenset({("labels", "UINT8"), ("confidence", "UINT8"), ("logits", "FP32")})
    channels = (3,)
    takes = "images"
    golden_text = "{:.2%} of the worst golden frame's pixels come out as exported"

    @property
    def name(self) -> str:
        """The bundle's own name."""
        return self.bundle.name

    def segment(self, images: NDArray[np.uint8], *, confidence: bool = False) -> Answer:
        """The class of every pixel of images uint8 [n,h,w,3]; raises like `run`."""
        found = self.run(images, ["labels", "confidence"] if confidence else ["labels"])
        return Answer(found["labels"], found.get("confidence"))

    def check_golden(self) -> float:
        """The share (0..1) of equal pixels in the worst golden frame; Failure for too few."""
        worst = min(
            float(np.mean(self.segment(image[None]).labels[0] == labels))
            for image, labels in self.bundle.golden()
        )
        least = float(self.bundle.checks["min_agreement"])
        if worst < least:
            raise Failure(
                f"on this device bundle {self.bundle.name} gives {worst:.4%} of a golden frame's "
                f"labels; wanted {least:.4%}: use another provider, or export the run again here"
            )
        return worst
