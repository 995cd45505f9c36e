from __future__ import annotations

import math

import numpy as np
import pytest

from export.precision.budget import Budget, Measured
from export.precision.calibration.calibrate import calibrate
from export.precision.groups import layer_groups
from export.precision.int8 import check_int8
from export.precision.int8_nodes import LAST_READ
from export.precision.search import BudgetError, SearchStep, search
from roadshift import UserError

BACKBONE = "segmentor.backbone."
# Shares of the labels that each group changes, as this judge has it.
HARM = {"block.0": 0.05, "mix": 0.03, "gate": 0.01, "stem.0": 0.004, "up": 0.002, "block.2": 0.001}


@pytest.fixture(scope="module")
def ranges(graph, street):
    return calibrate(graph, street.frames, "minmax")


class Judge:
    """Adds up the harm of the layers whose weights are rounded."""

    def __init__(self, points: float | None = None, harm=HARM) -> None:
        self.points, self.harm = points, harm
        self.whole: list[frozenset[str]] = []
        self.quick: list[frozenset[str]] = []

    def rounded(self, model) -> frozenset[str]:
        read = {n.input[0] for n in model.graph.node if n.op_type == "QuantizeLinear"}
        return frozenset(name for name in self.harm if f"{BACKBONE}{name}.weight" in read)

    def __call__(self, model) -> Measured:
        self.whole.append(self.rounded(model))
        share = sum(self.harm[name] for name in self.whole[-1])
        drop = None if self.points is None else self.points * share
        time = 100.0 - 10 * len(self.whole[-1])
        return Measured(share, 0.0, drop, None if drop is None else 2 * drop, time)

    def as_written(self, _) -> Measured:
        return Measured(0.0, 0.0, *(2 * [None if self.points is None else 0.0]), 999.0)

    def disagreement(self, model) -> float:
        self.quick.append(self.rounded(model))
        return sum(self.harm[name] for name in self.quick[-1])


def full(*names: str) -> tuple[str, ...]:
    return tuple(f"{BACKBONE}{name}" for name in names)


def test_a_budget_that_holds_at_once_needs_no_search(graph, ranges) -> None:
    judge, said = Judge(), list[str]()
    found = search(graph, ranges, judge, Budget(max_disagreement=20), said.append)
    assert (found.kept, len(found.trail), len(judge.whole), judge.quick) == ((), 1, 1, [])
    assert found.trail[0].holds
    assert said == [
        "all in INT8: 9.70% of the labels differ, IoU with fp32 of the worst class 100.0, 40.0 ms; "
        "within the budget"
    ]
    check_int8(found.model)


def test_the_file_is_held_to_the_budget_as_well_as_what_a_server_makes_of_it(graph, ranges) -> None:
    """Other runtimes round where ONNX Runtime does not."""

    class Both(Judge):
        written: tuple[frozenset[str], ...] = ()

        def as_written(self, model) -> Measured:
            self.written = (*self.written, self.rounded(model))
            return Measured(0.5 if "block.0" in self.written[-1] else 0, 0.0, None, None, 1.0)

    judge = Both()
    found = search(graph, ranges, judge, Budget(max_disagreement=20), lambda _: None)
    assert found.kept == (LAST_READ, *full("block.0"))
    assert [step.holds for step in found.trail] == [False, False, True]


def test_what_the_last_layers_read_is_the_first_to_stay(graph, ranges) -> None:
    """Before any group is looked at alone."""

    class Tail(Judge):
        def __call__(self, model) -> Measured:
            share = 0.01 if "relu_4_QuantizeLinear" in {n.name for n in model.graph.node} else 0
            return super().__call__(model)._replace(disagreement=share)

    judge = Tail()
    found = search(graph, ranges, judge, Budget(max_disagreement=0.5), lambda _: None)
    assert found.kept == (LAST_READ,)
    assert [step.holds for step in found.trail] == [False, True]
    assert not judge.quick
    assert judge.rounded(found.model) == HARM.keys()
    check_int8(found.model)


def test_always_looks_at_each_group_alone(graph, ranges) -> None:
    judge, said = Judge(), list[str]()
    found = search(graph, ranges, judge, Budget(max_disagreement=20), said.append, always=True)
    assert found.kept == ()
    assert judge.quick == [frozenset({name}) for name in layer_names(graph)]
    assert said[1] == f"only {BACKBONE}stem.0 in INT8: 0.40% of the labels differ"


def layer_names(graph) -> list[str]:
    """The groups that have something to quantise."""
    return [n.removeprefix(BACKBONE) for n in layer_groups(graph) if n.startswith(BACKBONE)]


def test_the_worst_groups_go_back_until_it_holds(graph, ranges) -> None:
    judge, said = Judge(), list[str]()
    found = search(graph, ranges, judge, Budget(max_disagreement=2), said.append)
    assert found.kept == (LAST_READ, *full("block.0", "mix"))
    assert [len(step.kept) for step in found.trail] == [0, 1, 2, 4, 3]
    assert [step.holds for step in found.trail] == [False, False, False, True, True]
    assert judge.rounded(found.model) == HARM.keys() - {"block.0", "mix"}
    assert len(said) == 5 + 6
    check_int8(found.model)


def test_it_turns_back_to_the_fewest(graph, ranges) -> None:
    judge = Judge()
    found = search(graph, ranges, judge, Budget(max_disagreement=0.35), lambda _: None)
    assert found.kept == (LAST_READ, *full("block.0", "mix", "gate", "stem.0"))
    assert [len(step.kept) for step in found.trail] == [0, 1, 2, 4, 6, 5]
    assert judge.rounded(found.model) == {"up", "block.2"}


def test_a_budget_that_nothing_holds_tells_what_was_tried(graph, ranges) -> None:
    with pytest.raises(BudgetError, match=r"with 6 of 7 groups .*\(0.10% of the labels") as error:
        search(graph, ranges, Judge(), Budget(max_disagreement=0.05), lambda _: None)
    assert [len(step.kept) for step in error.value.trail] == [0, 1, 2, 4, 6]
    assert not any(step.holds for step in error.value.trail)


def test_a_group_of_nan_is_the_worst(graph, ranges) -> None:
    harm = HARM | {"up": math.nan}
    found = search(graph, ranges, Judge(harm=harm), Budget(max_disagreement=10), lambda _: None)
    assert found.kept == (LAST_READ, *full("up"))


def test_with_labels_points_count(graph, ranges) -> None:
    budget = Budget(max_miou_drop=2.0, max_class_drop=3.5, max_disagreement=0)
    found = search(graph, ranges, Judge(points=100), budget, lambda _: None)
    # 1.7 points are within, and so is twice that of the worst class.
    assert found.kept == (LAST_READ, *full("block.0", "mix"))


@pytest.mark.parametrize(
    ("measured", "holds"),
    [
        (Measured(0.9, 0.0, 0.5, 2.0, 1.0), True),
        (Measured(0.0, 0.0, 0.51, 0.0, 1.0), False),
        (Measured(0.0, 0.0, 0.0, 2.01, 1.0), False),
        (Measured(0.0, 0.0, -3.0, -1.0, 1.0), True),
        (Measured(0.0, 0.0, math.nan, 0.0, 1.0), False),
        (Measured(0.0, 0.0, 0.0, math.nan, 1.0), False),
        (Measured(0.02, 0.0, None, None, 1.0), True),
        (Measured(0.0201, 0.0, None, None, 1.0), False),
        (Measured(math.nan, 0.0, None, None, 1.0), False),
        (Measured(0.0, 30.0, None, None, 1.0), True),
        (Measured(0.0, 30.1, None, None, 1.0), False),
        (Measured(0.0, 100.0, 0.0, 0.0, 1.0), True),
    ],
)
def test_when_a_budget_holds(measured, holds) -> None:
    assert Budget().holds(measured) == holds


@pytest.mark.parametrize("value", [-0.1, 100.1, math.nan, math.inf])
def test_a_budget_is_of_points(value) -> None:
    with pytest.raises(UserError, match=r"--max-class-drop is .*: give points"):
        Budget(max_class_drop=value)


def test_a_step_as_json() -> None:
    step = SearchStep(("a", "b"), Measured(0.1, 0.0, None, None, 5.0), False)
    assert step.values() == {
        "kept_in_fp32": ["a", "b"],
        "holds": False,
        "disagreement": 0.1,
        "class_change": 0.0,
        "miou_drop": None,
        "class_drop": None,
        "milliseconds": 5.0,
    }


def test_really_judged(graph, ranges, street) -> None:
    """With the labels of the graphs themselves."""
    frames = [street.frame(i) for i in (20, 21)]
    wanted = street.run(graph, frames)["labels"]

    class Real:
        def __call__(self, model) -> Measured:
            return Measured(self.disagreement(model), 0.0, None, None, 1.0)

        as_written = __call__

        def disagreement(self, model) -> float:
            return float((street.run(model, frames)["labels"] != wanted).mean())

    plain = search(graph, ranges, Real(), Budget(max_disagreement=100), lambda _: None)
    lost = 100 * plain.trail[0].measured.disagreement
    assert lost > 0
    found = search(graph, ranges, Real(), Budget(max_disagreement=lost * 0.7), lambda _: None)
    assert 0 < len(found.kept) < 7
    assert 100 * (street.run(found.model, frames)["labels"] != wanted).mean() <= lost * 0.7
    assert np.array_equal(street.run(graph, frames)["labels"], wanted)
