"""How many bytes all requests together may hold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

from serve.limits import Refusal

_INFLATING = 2
"""Bodies that are decompressed at a time."""


class ByteBudget:
    """Bytes of request bodies, from when they arrive until their requests are answered.

    Where they do not suffice, the largest body that still comes in makes room, so that nobody can
    shut out others by beginning large bodies and not ending them.
    """

    def __init__(self, most: int) -> None:
        self.most, self.used = most, 0
        self.coming: set[Share] = set()
        """The shares of bodies that still come in."""
        self.inflating = asyncio.Semaphore(_INFLATING)
        """Held while a body is decompressed: until then nobody knows its bytes."""


class Share:
    """One request's part of a budget; it is given back when the `with` block ends."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget, self.held = budget, 0
        self.inflating = budget.inflating
        self._stop: Callable[[], None] = lambda: None

    def __enter__(self) -> Share:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.whole()
        self._give_back()

    def comes(self, stop: Callable[[], None]) -> None:
        """The body begins to come in. `stop` is called when it has to make room for others."""
        self._stop = stop
        self._budget.coming.add(self)

    def whole(self) -> None:
        """The body is there, and makes no room any more."""
        self._budget.coming.discard(self)

    def take(self, count: int) -> None:
        """Counts so many bytes more. Raises Refusal 429 when others hold too many to make room."""
        budget = self._budget
        while budget.used + count > budget.most:
            others = [each for each in budget.coming if each is not self]
            largest = max(others, key=lambda each: each.held, default=None)
            if largest is None or largest.held <= self.held + count:
                raise no_room()
            largest.whole()
            largest._give_back()
            largest._stop()
        budget.used += count
        self.held += count

    def _give_back(self) -> None:
        self._budget.used -= self.held
        self.held = 0


def no_room() -> Refusal:
    """What is said to a request whose bytes are too many."""
    return Refusal(429, "the requests under way hold too many bytes: try again later")
