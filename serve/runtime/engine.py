"""Images in, labels out: a bundle's segmentor on one device, in one precision, by one route."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from export.bundle import SEGMENTOR, Bundle
from export.bundle.reproduction import Found, Reproduction, reproduction
from roadshift import Failure, UserError, unknown
from serve.runtime.exact_labels.confidence import confidence_at
from serve.runtime.exact_labels.labels import labels_at
from serve.runtime.graph import Graph
from serve.runtime.providers import check_computes

ROUTES = ("auto", "exact", "dense")
"""How labels and confidence come about: "exact", on the host from the low-resolution logits;
"dense", in the graph from the upsampled ones. The two are equal, but for ties within rounding."""


class Answer(NamedTuple):
    """Class ids, and where asked how sure they are (255: certain); both uint8 [n,h,w]."""

    labels: NDArray[np.uint8]
    confidence: NDArray[np.uint8] | None


class Engine(Graph):
    """A bundle's segmentor; see Graph for the arguments and for what is raised.

    `precision` is one of the bundle's. `route` is one of ROUTES; "auto" takes the exact one where
    the bundle has it and the CPU does the work anyway. `engine.route` says which it is, and
    `engine.why` why. Raises UserError for a precision or a route that the bundle lacks, and for a
    precision that the provider has no kernels for.
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
        check_computes(provider, precision)
        self.route, self.why = _route(bundle, provider, route)
        super().__init__(bundle, provider=provider, threads=threads)
        shape = next(spec.shape for spec in self.outputs if spec.name == "logits")
        if len(shape) != 4 or shape[1] not in (-1, len(bundle.classes)):
            raise Failure(
                f"{self.sessions.what} has logits of shape {list(shape)}; wanted "
                f"{len(bundle.classes)} classes, [n, classes, h, w]: export the run again"
            )

    @property
    def first(self) -> tuple[str, ...]:
        """What labels need of the graph."""
        return ("logits",) if self.route == "exact" else ("labels",)

    def answers(self, values: NDArray[np.uint8], wanted: Sequence[str]) -> dict[str, NDArray[Any]]:
        """The named outputs for images uint8 [n,h,w,3]; on the exact route labels and confidence
        come about here, of the graph's logits."""
        dense = self.route == "dense" or not set(wanted) <= set(self.spec.outputs)
        found = super().answers(values, wanted if dense else ["logits"])
        if "logits" in found and not math.isfinite(float(found["logits"].sum())):
            raise Failure(
                f"{self.sessions.what} has logits that are no numbers (NaN or infinite) for an "
                "image: its labels would be made up"
            )
        if dense:
            return found
        size = (values.shape[1], values.shape[2])
        if "labels" in wanted:
            found["labels"] = self.upsampled(found["logits"], size)
        if "confidence" in wanted:
            how = self.bundle.align_corners, self.threads
            found["confidence"] = confidence_at(found["logits"], size, *how)
        return {name: found[name] for name in wanted}

    def upsampled(self, logits: NDArray[np.float32], size: Sequence[int]) -> NDArray[np.uint8]:
        """Labels uint8 [n,h,w] of `size` (h, w) from the graph's logits, by the exact route."""
        height, width = size
        return labels_at(logits, (height, width), self.bundle.align_corners, self.threads)

    def segment(self, images: NDArray[np.uint8], *, confidence: bool = False) -> Answer:
        """The class of every pixel of images uint8 [n,h,w,3]; raises like `run`."""
        found = self.run(images, ["labels", "confidence"] if confidence else ["labels"])
        return Answer(found["labels"], found.get("confidence"))

    def check_golden(self) -> float:
        """The share (0..1) of equal pixels in the worst golden frame; raises like `reproduce`.

        On the exact route confidence and logits, which come of the same run as the labels, are
        compared as well; on the dense one they have a graph of their own: `reproduce` asks it.
        """
        return self.reproduce(outputs=self.route == "exact").agreement

    def reproduce(self, *, outputs: bool = False) -> Reproduction:
        """How well the golden frames come out: in batches of two, and the first also alone.

        With `outputs` confidence and logits are compared too. Raises Failure for a frame, a class
        or an output that is not as the manifest promises.
        """
        golden = self.bundle.golden()
        found = self._found([one.image for one in golden], outputs)
        result = reproduction(golden, found, self.bundle.classes)
        alone = self._found([golden[0].image], outputs)
        worse = reproduction(golden[:1], alone, self.bundle.classes).or_worse(result)
        result = worse._replace(classes=result.classes)
        if wrong := not_as_exported(result, self.bundle, self.precision):
            raise Failure(
                f"on this device bundle {self.bundle.name} gives {'; '.join(wrong)}: use another "
                "provider, or export the run again here"
            )
        return result

    def _found(self, images: Sequence[NDArray[np.uint8]], outputs: bool) -> list[Found]:
        """What comes out for each image, in batches of two; labels as they are served, alone."""
        if outputs and self.route == "exact":
            return [Found(**o) for o in self.in_batches(images, 2, [*Found._fields])]
        labels = self.in_batches(images, 2, ["labels"])
        if not outputs:
            return [Found(**one) for one in labels]
        others = self.in_batches(images, 2, ["confidence", "logits"])
        return [Found(**one, **other) for one, other in zip(labels, others, strict=True)]


def not_as_exported(result: Reproduction, bundle: Bundle, precision: str) -> list[str]:
    """What of the golden frames is not as the bundle promises; empty where all is."""
    least = bundle.min_agreement(precision)
    wrong = result.reasons(bundle.limits(precision))
    if result.agreement < least:
        share = f"{result.agreement:.4%} of a golden frame's labels"
        wrong.insert(0, f"{share} in {precision}; wanted {least:.4%}")
    return wrong


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
