"""Threads for one kind of work, and a bounded line before them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any, TypeVar

import anyio

from serve.limits import Refusal

T = TypeVar("T")


class Workers:
    """`threads` calls at a time, `waiting` behind them (None: any number)."""

    def __init__(self, name: str, threads: int, waiting: int | None = None) -> None:
        self._name = name
        self._places = None if waiting is None else threads + waiting
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._under_way: set[Future[Any]] = set()

    async def run(self, call: Callable[[], T]) -> T:
        """`call()` in a thread, in turn. Raises Refusal 429 when the line is full.

        Cancelling takes the call out of the line, with all that it holds. One that has begun keeps
        its thread till it ends, and nobody waits for it.
        """
        if self._places is not None and len(self._under_way) >= self._places:
            raise Refusal(429, f"{len(self._under_way)} requests are {self._name}: try again later")
        calls = [call]
        del call

        def only() -> T:
            return calls.pop()()

        future = self._pool.submit(copy_context().run, only)
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        try:
            return await asyncio.wrap_future(future)
        finally:
            calls.clear()  # the pool keeps what was cancelled until a thread is free

    def close(self) -> None:
        """Forgets whoever waits; calls that have begun end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def now() -> float:
    """The event loop's time, in seconds."""
    return asyncio.get_running_loop().time()


def deadline_of(arrived: float, timeout: float | None) -> float | None:
    """The event loop's time at which a request of that timeout (seconds) is too late."""
    return None if timeout is None else arrived + timeout


@contextmanager
def until(deadline: float | None, during: str) -> Generator[None]:
    """What is awaited inside ends at `deadline` (of `now`; None: never).

    Raises Refusal 504, "the request's timeout passed" + `during`.
    """
    late = Refusal(504, f"the request's timeout passed {during}")
    left = None if deadline is None else deadline - now()
    if left is not None and left <= 0:
        raise late
    try:
        with anyio.fail_after(left):
            yield
    except TimeoutError:
        raise late from None
