"""The segmentor's graph in fp16 or INT8: calibrated on frames without labels, held to a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

from export.bundle.data_name import public_spec
from export.frames import Frames, Pixels
from export.precision.accuracy import LabelJudge
from export.precision.budget import Budget
from export.precision.calibration.calibrate import calibrate
from export.precision.calibration.ranges import CalibrationMethod, Ranges
from export.precision.fp16 import to_fp16
from export.precision.search import Found, SearchStep, search

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Lowering:
    """Which precisions beside fp32, on which unlabelled target frames they are calibrated and how.

    `cache` is a file in which the ranges are kept for the next time; `always` searches also where
    plain INT8 holds the budget, to see the curve.
    """

    precisions: tuple[str, ...]
    calibration: Frames
    method: CalibrationMethod = "entropy"
    cache: Path | None = None
    budget: Budget = field(default_factory=Budget)
    always: bool = False


@dataclass(frozen=True, kw_only=True)
class Lowered:
    """A graph of lower precision and how it came about."""

    precision: str
    model: onnx.ModelProto
    story: str
    kept: tuple[str, ...]
    trail: tuple[SearchStep, ...]
    log: tuple[str, ...]
    budget: Budget

    def values(self) -> dict[str, Any]:
        """For bundle.json."""
        steps = [step.values() for step in self.trail]
        return {"made": self.story, "kept_in_fp32": list(self.kept), "search": steps}


def lower(model: onnx.ModelProto, lowering: Lowering, judge: LabelJudge, say: Say) -> list[Lowered]:
    """The graph in each of the precisions, in their order; `say` is told what is being done.

    Raises UserError for a calibration set that does not fit, search.BudgetError where INT8 loses
    more than the budget whatever is left in fp32.
    """
    frames = lowering.calibration
    say(f"calibrating on {frames.count} frames of {frames.spec} ({lowering.method})")
    ranges = calibrate(model, _Images(frames), lowering.method, lowering.cache)
    made: list[Lowered] = []
    for precision in lowering.precisions:
        say(f"making {precision}")
        if precision == "fp16":
            made.append(_fp16(model, ranges, lowering))
        else:
            made.append(_int8(model, ranges, lowering, judge, say))
    return made


class _Images:
    """The pictures of some frames, read anew whenever they are gone through."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames

    def __iter__(self) -> Iterator[Pixels]:
        return (self._frames.read(i).image for i in range(self._frames.count))


def _fp16(model: onnx.ModelProto, ranges: Ranges, lowering: Lowering) -> Lowered:
    lowered = to_fp16(model, ranges, frozenset())
    return Lowered(
        precision="fp16",
        model=lowered,
        story=(
            "Weights and activations are float16 in the graph itself; the tail after the logits, "
            "sums over whole maps and what could leave float16's range stay float32 (ranges from "
            f"{_frames(lowering)})."
        ),
        kept=(),
        trail=(),
        log=(),
        budget=lowering.budget,
    )


def _int8(
    model: onnx.ModelProto, ranges: Ranges, lowering: Lowering, judge: LabelJudge, say: Say
) -> Lowered:
    log: list[str] = []

    def note(line: str) -> None:
        log.append(line)
        say(line)

    found: Found = search(model, ranges, judge, lowering.budget, note, always=lowering.always)
    return Lowered(
        precision="int8",
        model=found.model,
        story=(
            "Convolutions and sums are INT8 between QuantizeLinear and DequantizeLinear: "
            "symmetric, weights by channel, activations by tensor, scales by "
            f"{lowering.method} from {_frames(lowering)}."
        ),
        kept=found.kept,
        trail=found.trail,
        log=tuple(log),
        budget=lowering.budget,
    )


def _frames(lowering: Lowering) -> str:
    return f"{lowering.calibration.count} frames of `{public_spec(lowering.calibration.spec)}`"
