"""Numbers out of their bounds, NaN among them, are refused in one sentence."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from adapt import bounds
from roadshift import UserError


@pytest.mark.parametrize(
    ("check", "good", "wrong", "said"),
    [
        (lambda c: bounds.at_least(1, c, "w_c"), (1, 2.5, None), (0, math.nan), "1 or more"),
        (lambda c: bounds.above_zero(c, "w_c"), (1e-9, None), (0, -1, math.nan), "more than 0"),
        (lambda c: bounds.shares(c, "w_c"), (0, 0.5, 1), (-0.1, 1.1, math.nan), "0..1"),
    ],
)
def test_numbers_within_and_without(check, good, wrong, said) -> None:
    for value in good:
        check(SimpleNamespace(w_c=value))
    for value in wrong:
        with pytest.raises(UserError) as error:
            check(SimpleNamespace(w_c=value))
        assert str(error.value) == f"--w-c is {value}; wanted {said}"


def test_factors() -> None:
    bounds.factors(SimpleNamespace(label_scales=[0.5, 2]), "label_scales")
    for wrong in ([], [1.0, 0.0], [math.nan]):
        with pytest.raises(UserError, match=r"^--label-scales .*: wanted factors above 0$"):
            bounds.factors(SimpleNamespace(label_scales=wrong), "label_scales")
