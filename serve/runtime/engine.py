"""Images in, labels out: a bundle's segmentor on one device, in one precision, by one route."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from export.bundle import SEGMENTOR, Bundle
from roadshift import Failure, UserError, unknown
from serve.runtime.exact_labels.labels import labels_at
from serve.runtime.graph import Graph

ROUTES = ("auto", "exact", "dense")
"""How labels come about: "exact", on the host from the low-resolution logits; "dense", in the graph
from the upsampled ones. The two are equal, but for ties within rounding."""


class Answer(NamedTuple):
    """Class ids, and where asked how sure they are (255: certain); both uint8 [n,h,w]."""

    labels: NDArray[np.uint8]
    confidence: NDArray[np.uint8] | None


class Engine(Graph):
    """A bundle's segmentor; see Graph for the arguments and for what is raised.

    `precision` is one of the bundle's. `route` is one of ROUTES; "auto" takes the exact one where
    the bundle has it and the CPU does the work anyway. `engine.route` says which it is, and
    `engine.why` why. Raises UserError for a precision or a route that the bundle lacks.
    """

    spec = SEGMENTOR
    golden_text = "{:.2%} of the worst golden frame's pixels come out as exported"

    def __init__(
        self,
        bundle: Bundle,
        *,
        provider: str = "cpu",
        threads: int = 0,
        precision: str = "fp32",
        route: str = "auto",
    ) -> None:
        self.file, self.precision = bundle.segmentor(precision), precision
        self.route, self.why = _route(bundle, provider, route)
        super().__init__(bundle, provider=provider, threads=threads)
        channels = next(spec.shape[1] for spec in self.outputs if spec.name == "logits")
        if channels not in (-1, len(bundle.classes)):
            raise Failure(
                f"{self.sessions.what} has logits of {channels} classes; wanted "
                f"{len(bundle.classes)}: export the run again"
            )

    @property
    def first(self) -> tuple[str, ...]:
        """What labels need of the graph."""
        return ("logits",) if self.route == "exact" else ("labels",)

    def run(self, values: NDArray[np.uint8], wanted: Sequence[str]) -> dict[str, NDArray[Any]]:
        """The named outputs for images uint8 [n,h,w,3]; raises like Graph.run.

        With the confidence everything comes from the graph, which upsamples for it in any case.
        """
        if self.route == "dense" or not {"labels"} <= set(wanted) <= {"labels", "logits"}:
            return super().run(values, wanted)
        found = super().run(values, ["logits"])
        found["labels"] = self.upsampled(found["logits"], values.shape[1:3])
        return {name: found[name] for name in wanted}

    def upsampled(self, logits: NDArray[np.float32], size: Sequence[int]) -> NDArray[np.uint8]:
        """Labels uint8 [n,h,w] of `size` (h, w) from the graph's logits, by the exact route."""
        height, width = size
        return labels_at(logits, (height, width), self.bundle.align_corners, self.threads)

    def segment(self, images: NDArray[np.uint8], *, confidence: bool = False) -> Answer:
        """The class of every pixel of images uint8 [n,h,w,3]; raises like `run`."""
        found = self.run(images, ["labels", "confidence"] if confidence else ["labels"])
        return Answer(found["labels"], found.get("confidence"))

    def golden_labels(self) -> list[NDArray[np.uint8]]:
        """What comes out for each golden frame, [h,w]."""
        return [self.segment(image[None]).labels[0] for image, _ in self.bundle.golden()]

    def check_golden(self) -> float:
        """The share (0..1) of equal pixels in the worst golden frame; Failure for too few."""
        return self.check_labels(self.golden_labels())

    def check_labels(self, found: Sequence[NDArray[np.uint8]]) -> float:
        """Like check_golden, of what came out for each golden frame."""
        golden = self.bundle.golden()
        worst = min(float(np.mean(a == b.labels)) for a, b in zip(found, golden, strict=True))
        least = self.bundle.min_agreement(self.precision)
        if worst < least:
            raise Failure(
                f"on this device bundle {self.bundle.name} gives {worst:.4%} of a golden frame's "
                f"labels in {self.precision}; wanted {least:.4%}: use another provider, or export "
                "the run again here"
            )
        return worst


def _route(bundle: Bundle, provider: str, asked: str) -> tuple[str, str]:
    """Which route it is, and why."""
    if asked not in ROUTES:
        raise unknown("route", asked, ROUTES)
    if bundle.route == "dense":
        if asked == "exact":
            raise UserError(
                f"bundle {bundle.name} has no exact route, since its logits are not upsampled "
                "bilinearly from below the frame's size: use --route dense"
            )
        return "dense", "the bundle has no other"
    if asked != "auto":
        return asked, "it was asked for"
    if provider == "cpu":
        return "exact", "upsampling every class costs more than the class borders alone"
    # 19 classes of 1024x2048 are 160 MB: milliseconds on any GPU, with the labels alone copied.
    return "dense", "a GPU upsamples faster than the host finishes"
