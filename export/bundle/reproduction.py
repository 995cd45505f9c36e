"""How well golden frames come out, by output and by class, and what of it a device must reach.

The limits are derived where a bundle is made, from what its own graph made of the golden frames in
each precision, and stand in the manifest: `checks["precisions"][p]`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from export.bundle.golden import Golden

EVIDENCE = 256
"""Pixels of a class in torch's labels, for it to be judged by itself: one cell of logits at a
sixteenth of the frame."""
EXACT_AGREEMENT = 0.999
"""Of a golden frame's labels, in fp32: 0.1% is what rounding moves at class borders."""
EXACT_CLASS = 0.99
"""Of torch's pixels of a class: in fp32 ties alone may fall otherwise."""
EXACT_CONFIDENCE = 0.5
"""In levels of 255, the mean over all pixels; twice that over a class's, which may be few."""
EXACT_LOGITS = 0.01
"""Of the deviation of torch's logits: what a GPU's shorter mantissas (TF32) do, several times."""
EXACT_CELL = 0.1
"""Likewise, of the logits in one place of the frame, over all classes; an H200 keeps within it."""


class Found(NamedTuple):
    """What came out for a golden frame: labels [h,w], and where asked confidence and logits."""

    labels: NDArray[np.uint8]
    confidence: NDArray[np.uint8] | None = None
    logits: NDArray[np.floating] | None = None


class ByClass(NamedTuple):
    """Torch's pixels of a class in all golden frames, the share (0..1) that came out so, and the
    mean difference of their confidence in levels of 255; None where that is not known."""

    pixels: int
    agreement: float
    confidence: float | None = None

    def or_worse(self, other: ByClass) -> ByClass:
        """The worse of two: of the same pixels."""
        return ByClass(
            self.pixels,
            min(self.agreement, other.agreement),
            _largest((self.confidence, other.confidence)),
        )

    def limits(self, *, exact: bool) -> dict[str, Any]:
        """What a device must reach, for bundle.json."""
        found: dict[str, Any] = {
            "pixels": self.pixels,
            "agreement": self.agreement,
            "min_agreement": EXACT_CLASS if exact else _least(self.agreement),
        }
        if self.confidence is not None:
            loose = 1.5 * self.confidence + 2
            found["max_confidence_error"] = 2 * EXACT_CONFIDENCE if exact else loose
        return found


class Reproduction(NamedTuple):
    """All golden frames together; `agreement` (0..1) is the worst one's.

    `classes` are those with EVIDENCE. `confidence` is the mean difference in levels of 255,
    `logits` the root mean square difference over their deviation, and `cell` that in the worst
    place, over all classes; None where nothing is known.
    """

    agreement: float
    classes: dict[str, ByClass]
    confidence: float | None
    logits: float | None
    cell: float | None = None

    def or_worse(self, other: Reproduction) -> Reproduction:
        """The worse of two, by class and output: of the same golden frames, in two forms."""
        return Reproduction(
            agreement=min(self.agreement, other.agreement),
            classes={name: one.or_worse(other.classes[name]) for name, one in self.classes.items()},
            confidence=_largest((self.confidence, other.confidence)),
            logits=_largest((self.logits, other.logits)),
            cell=_largest((self.cell, other.cell)),
        )

    def limits(self, *, exact: bool) -> dict[str, Any]:
        """What a device must reach by class and output, for bundle.json.

        Devices round differently, so in lower precisions half as much again as was lost here, and a
        little more.
        """
        classes = {name: one.limits(exact=exact) for name, one in self.classes.items()}
        limits: dict[str, Any] = {"classes": classes}
        if self.confidence is not None:
            loose = 1.5 * self.confidence + 1
            limits["max_confidence_error"] = EXACT_CONFIDENCE if exact else loose
        if self.logits is not None:
            limits["max_logit_error"] = EXACT_LOGITS if exact else 1.5 * self.logits + EXACT_LOGITS
        if self.cell is not None:
            loose = 1.5 * self.cell + EXACT_CELL
            limits["max_logit_cell_error"] = EXACT_CELL if exact else loose
        return limits

    def reasons(self, limits: Mapping[str, Any]) -> list[str]:
        """What is not as promised, in words with numbers; empty where all is."""
        wrong: list[str] = []
        for name, limit in limits.get("classes", {}).items():
            found = self.classes.get(name, ByClass(0, 0.0))
            if found.pixels != limit["pixels"]:
                wrong.append(
                    f"{found.pixels} pixels of {name} in the golden frames' labels (the manifest "
                    f"says {limit['pixels']})"
                )
            if not found.agreement >= limit["min_agreement"]:
                wrong.append(
                    f"{found.agreement:.2%} of the {name} in the golden frames (wanted "
                    f"{limit['min_agreement']:.2%} of {limit['pixels']} pixels)"
                )
            most = limit.get("max_confidence_error")
            if found.confidence is not None and most is not None and not found.confidence <= most:
                wrong.append(
                    f"confidence that is off by {found.confidence:.2f} of 255 on the {name} in the "
                    f"golden frames (allowed {most:.2f})"
                )
        measures = (
            ("confidence", self.confidence, "max_confidence_error", "{:.2f} of 255 on average"),
            ("logits", self.logits, "max_logit_error", "{:.2%} of their deviation"),
            ("logits", self.cell, "max_logit_cell_error", "{:.2%} of their deviation in a place"),
        )
        for name, value, key, unit in measures:
            if value is not None and key in limits and not value <= limits[key]:
                most = unit.format(limits[key])
                wrong.append(f"{name} that are off by {unit.format(value)} (allowed {most})")
        return wrong


def reproduction(
    golden: Sequence[Golden], found: Sequence[Found], classes: Sequence[str]
) -> Reproduction:
    """Compares what came out for each golden frame with what torch made of it."""
    agreement, pixels, same = 1.0, np.zeros(256, np.int64), np.zeros(256, np.int64)
    confidence, apart = list[float](), np.zeros(256)
    logits, cells = list[float](), list[float]()
    for one, out in zip(golden, found, strict=True):
        equal = out.labels == one.labels
        agreement = min(agreement, float(equal.mean()))
        pixels += np.bincount(one.labels.ravel(), minlength=256)
        same += np.bincount(one.labels[equal], minlength=256)
        if one.confidence is not None and out.confidence is not None:
            off = np.abs(one.confidence.astype(np.int16) - out.confidence)
            confidence.append(float(off.mean()))
            apart += np.bincount(one.labels.ravel(), off.ravel(), minlength=256)
        if one.logits is not None and out.logits is not None:
            logits.append(relative_error(out.logits, one.logits))
            cells.append(worst_cell(out.logits, one.logits))
    return Reproduction(
        agreement=agreement,
        classes={
            name: ByClass(
                int(pixels[c]),
                float(same[c] / pixels[c]),
                float(apart[c] / pixels[c]) if len(confidence) == len(golden) else None,
            )
            for c, name in enumerate(classes)
            if pixels[c] >= EVIDENCE
        },
        confidence=_largest(confidence),
        logits=_largest(logits),
        cell=_largest(cells),
    )


def _largest(values: Iterable[float | None]) -> float | None:
    """nan if one is, None where nothing is known."""
    known = [value for value in values if value is not None]
    return float(np.max(known)) if known else None


def _least(agreement: float) -> float:
    return max(0.0, 1 - 1.5 * (1 - agreement) - 0.02)


def relative_error(found: NDArray[np.floating], wanted: NDArray[np.floating]) -> float:
    """The root mean square difference over the deviation of what was wanted; inf for others."""
    return _off(found, wanted, None)


def worst_cell(found: NDArray[np.floating], wanted: NDArray[np.floating]) -> float:
    """The same of logits [c,h,w] in the place where it is the largest."""
    return _off(found, wanted, 0)


def _off(found: NDArray[np.floating], wanted: NDArray[np.floating], over: int | None) -> float:
    if found.shape != wanted.shape:
        return float("inf")
    wanted = wanted.astype(np.float64)
    deviation = float(wanted.std()) or 1.0
    square = np.square(found.astype(np.float64) - wanted).mean(over)
    return float(np.sqrt(np.max(square))) / deviation
