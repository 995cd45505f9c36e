"""Who may wait for the engine, for how long, and what became of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import anyio.to_thread

from serve.limits import Refusal

T = TypeVar("T")


@dataclass
class Tally:
    """How often something happened, and how long it took altogether."""

    count: int = 0
    ns: int = 0
    last: float = 0.0
    """When it happened last, in seconds of Unix time."""

    def add(self, since_ns: int) -> None:
        self.last = time.time()
        self.count += 1
        self.ns += time.perf_counter_ns() - since_ns


@dataclass
class Tallies:
    """What became of one model's requests; the names are those of Triton's statistics."""

    success: Tally = field(default_factory=Tally)
    fail: Tally = field(default_factory=Tally)
    queue: Tally = field(default_factory=Tally)
    compute_infer: Tally = field(default_factory=Tally)


class Admission:
    """One request at the engine, `waiting` behind it; whoever comes then is refused at once.

    A place is held from before the body is read until the answer is ready, so the bodies in memory
    are bounded too.
    """

    def __init__(self, waiting: int) -> None:
        self._places = waiting + 1
        self.taken = 0
        self._engine = asyncio.Semaphore(1)

    @contextmanager
    def place(self) -> Generator[None]:
        """Raises Refusal 429 when none is free."""
        if self.taken >= self._places:
            raise Refusal(
                429, f"{self.taken} requests are being worked on or waiting: try again later"
            )
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1

    async def run(
        self,
        call: Callable[[], T],
        deadline: float | None,
        is_gone: Callable[[], Awaitable[bool]],
        tallies: Tallies,
    ) -> T:
        """`call()` in a thread, when its turn has come; how long that took goes into `tallies`.

        Raises Refusal: 504 when `deadline` (of the event loop's clock) comes first, 499 when the
        client has gone by then.
        """
        began, now = time.perf_counter_ns(), asyncio.get_running_loop().time
        try:
            with anyio.fail_after(None if deadline is None else deadline - now()):
                await self._engine.acquire()
        except TimeoutError:
            raise _late() from None
        try:
            tallies.queue.add(began)
            if deadline is not None and now() >= deadline:
                raise _late()
            if await is_gone():
                raise Refusal(499, "the client has gone")
            began = time.perf_counter_ns()
            answer = await anyio.to_thread.run_sync(call)
            tallies.compute_infer.add(began)
            return answer
        finally:
            self._engine.release()


def _late() -> Refusal:
    return Refusal(504, "the request's timeout passed before its turn came: it was not run")
