"""Mixed precision under a budget: the layers that INT8 hurts most stay float32 until it holds.

The first to stay is what the last layers alone read (see `int8_nodes`), which costs least to leave.
Where that does not do, each group of layers is quantised alone, and how many labels that changes is
its sensitivity. Then everything is INT8 but the 1, 2, 4, 8, ... most sensitive groups, until the
budget holds, and halfway back, to the fewest with which it does: about 2 log2(n) measurements for n
groups.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import onnx

from export.precision.budget import Budget, Measured
from export.precision.calibration.ranges import Ranges
from export.precision.graph_index import Flow, prepared
from export.precision.groups import group_nodes
from export.precision.int8 import to_int8
from export.precision.int8_nodes import LAST_READ, sites
from roadshift import Failure


class SearchStep(NamedTuple):
    """One graph of a search: the groups left in float32, the worst first, and what came out."""

    kept: tuple[str, ...]
    measured: Measured
    holds: bool

    def values(self) -> dict[str, Any]:
        """For JSON."""
        return {"kept_in_fp32": list(self.kept), "holds": self.holds, **self.measured._asdict()}


class Found(NamedTuple):
    """The graph that holds the budget, its groups left in float32, and every step of the search."""

    model: onnx.ModelProto
    kept: tuple[str, ...]
    trail: tuple[SearchStep, ...]


class BudgetError(Failure):
    """No graph with anything in INT8 holds the budget; `trail` is what was tried."""

    def __init__(self, message: str, trail: tuple[SearchStep, ...]) -> None:
        super().__init__(message)
        self.trail = trail


class Judge(Protocol):
    """Compares a graph with the float32 one: in full, as a server runs it on this CPU and as its
    file has it, and quickly on unlabelled target frames."""

    def __call__(self, model: onnx.ModelProto) -> Measured: ...

    def as_written(self, model: onnx.ModelProto) -> Measured: ...

    def disagreement(self, model: onnx.ModelProto) -> float:
        """The share (0..1) of pixels whose label is another."""
        ...


def search(
    model: onnx.ModelProto,
    ranges: Ranges,
    judge: Judge,
    budget: Budget,
    log: Callable[[str], None],
    *,
    always: bool = False,
) -> Found:
    """The INT8 graph that holds the budget with the fewest groups of layers in float32.

    LAST_READ counts as a group, and is the first to stay. The others are only looked at one by one
    where that does not do, or `always`. Raises
    BudgetError where it does not hold although all groups but one are float32.
    """
    attempt = _Attempts(model, ranges, judge, budget, log)
    step = attempt(())
    if not step.holds and _rounds_for_the_last(model):
        step = attempt((LAST_READ,))
    if step.holds and not always:
        return attempt.found(step)
    worst = [*step.kept, *_by_sensitivity(model, ranges, judge, log)]
    if step.holds:
        return attempt.found(step)
    low = high = len(step.kept)
    while not step.holds:
        if high >= len(worst) - 1:
            raise BudgetError(
                f"INT8 loses more than the budget allows ({budget}) even with "
                f"{len(step.kept)} of {len(worst)} groups of layers in float32 "
                f"({step.measured}): calibrate on more frames or by another method, "
                "allow more, or deploy fp16",
                tuple(attempt.trail),
            )
        low, high = high, min(max(1, 2 * high), len(worst) - 1)
        step = attempt(worst[:high])
    while high - low > 1:
        middle = (low + high) // 2
        between = attempt(worst[:middle])
        if between.holds:
            high, step = middle, between
        else:
            low = middle
    return attempt.found(step)


class _Attempts:
    """Makes, measures and remembers the graphs of a search."""

    def __init__(
        self,
        model: onnx.ModelProto,
        ranges: Ranges,
        judge: Judge,
        budget: Budget,
        log: Callable[[str], None],
    ) -> None:
        self.trail: list[SearchStep] = []
        self._model, self._ranges, self._judge = model, ranges, judge
        self._budget, self._log = budget, log

    def __call__(self, kept: Sequence[str]) -> SearchStep:
        made = self._made(kept)
        measured = self._judge(made)
        if self._budget.holds(measured):  # then in the other form too
            measured = measured.or_worse(self._judge.as_written(made))
        step = SearchStep(tuple(kept), measured, self._budget.holds(measured))
        self.trail.append(step)
        what = f"{len(kept)} groups in float32 ({', '.join(kept)})" if kept else "all in INT8"
        self._log(f"{what}: {measured}; {'within' if step.holds else 'over'} the budget")
        return step

    def found(self, step: SearchStep) -> Found:
        return Found(self._made(step.kept), step.kept, tuple(self.trail))

    def _made(self, kept: Sequence[str]) -> onnx.ModelProto:
        return to_int8(self._model, self._ranges, frozenset(kept))


def _rounds_for_the_last(model: onnx.ModelProto) -> bool:
    """Whether the last layers read anything that plain INT8 rounds for them alone."""
    flow = Flow(prepared(model))
    return sites(flow).written != sites(flow, last_read=False).written


def _by_sensitivity(
    model: onnx.ModelProto, ranges: Ranges, judge: Judge, log: Callable[[str], None]
) -> list[str]:
    """The groups that have something to quantise, those that change most labels alone first."""
    flow = Flow(prepared(model))
    groups, quantised = group_nodes(flow), sites(flow).nodes
    names = [name for name, nodes in groups.items() if quantised.intersection(nodes)]
    changed: dict[str, float] = {}
    for name in names:
        alone = to_int8(model, ranges, (groups.keys() | {LAST_READ}) - {name})
        share = judge.disagreement(alone)
        changed[name] = math.inf if math.isnan(share) else share
        log(f"only {name} in INT8: {share:.2%} of the labels differ")
    return sorted(names, key=lambda name: -changed[name])
