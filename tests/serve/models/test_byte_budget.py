"""Who gets bytes, who gives them back, and who makes room."""

import pytest

from serve.limits import Refusal
from serve.models.byte_budget import ByteBudget, Share


def test_bytes_come_back_when_the_request_ends() -> None:
    budget = ByteBudget(10)
    with Share(budget) as share:
        share.take(4)
        share.take(3)
        assert (budget.used, share.held) == (7, 7)
    assert budget.used == 0


def test_the_largest_that_still_comes_in_makes_room() -> None:
    budget, stopped = ByteBudget(10), list[str]()
    with Share(budget) as large, Share(budget) as whole, Share(budget) as small:
        large.comes(lambda: stopped.append("large"))
        large.take(5)
        whole.take(4)
        small.comes(lambda: stopped.append("small"))
        small.take(3)
        assert stopped == ["large"]
        assert (budget.used, large.held) == (7, 0)


def test_none_makes_room_for_a_larger_one() -> None:
    budget, stopped = ByteBudget(10), list[str]()
    with Share(budget) as small, Share(budget) as large:
        small.comes(lambda: stopped.append("small"))
        small.take(5)
        large.comes(lambda: stopped.append("large"))
        with pytest.raises(Refusal, match="too many bytes"):
            large.take(6)
        assert not stopped
        assert budget.used == 5
