"""How many bytes all requests together may hold."""

from __future__ import annotations

from types import TracebackType

from serve.limits import Refusal


class ByteBudget:
    """Bytes of request bodies, from when they arrive until their requests are answered."""

    def __init__(self, most: int) -> None:
        self.most, self.used = most, 0


class Share:
    """One request's part of a budget; it is given back when the `with` block ends."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget, self._held = budget, 0

    def __enter__(self) -> Share:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._budget.used -= self._held

    def take(self, count: int) -> None:
        """Counts so many bytes more. Raises Refusal 429 when the budget does not hold them."""
        if self._budget.used + count > self._budget.most:
            raise Refusal(
                429, f"the requests under way hold {self._budget.used} bytes: try again later"
            )
        self._budget.used += count
        self._held += count
