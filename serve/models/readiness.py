"""Whether a server takes requests, and until when those under way have time."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from serve.limits import Refusal


class Readiness:
    """Not ready until the golden frames were checked, nor again once the server stops."""

    def __init__(self, grace_seconds: float) -> None:
        self._grace_seconds = grace_seconds
        self._unready: str | None = "the golden frames have not been checked yet"
        self._stopping: float | None = None
        self.on_change: list[Callable[[], None]] = []
        self.late = False
        """Whether nothing is answered at all until it is ready: others do so meanwhile."""
        self.others_ready: Callable[[], Awaitable[None]] = _alone
        """What is waited for before it is ready, once its own models are."""

    @property
    def unready(self) -> str | None:
        """Why the server is not ready, or None; whom it concerns (`on_change`) is called when it
        changes."""
        return self._unready

    @unready.setter
    def unready(self, why: str | None) -> None:
        if self._stopping is not None:
            return  # a check that ends only now changes nothing
        self._unready = why
        for told in self.on_change:
            told()

    def require(self) -> None:
        """Raises Refusal 503."""
        if self.unready is not None:
            raise Refusal(503, f"not ready: {self.unready}")

    def stop(self) -> None:
        """From now on all are refused, and who is under way has its grace's seconds left."""
        self.unready = "the server stops"
        self._stopping = time.monotonic()

    @property
    def grace_left(self) -> float:
        """Seconds that requests under way still have; all of them before `stop`."""
        passed = 0.0 if self._stopping is None else time.monotonic() - self._stopping
        return max(0.0, self._grace_seconds - passed)


async def _alone() -> None:
    """There is no other process to wait for."""
