"""What became of one model's requests, and how long each stage took: for statistics and metrics."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from roadshift import Failure
from serve.limits import GONE, Refusal

REASONS = ("REJECTED", "CANCELED", "BACKEND", "OTHER")
"""Why a request has failed, in Triton's words."""


@dataclass
class Tally:
    """How often something happened, and how long it took altogether."""

    count: int = 0
    ns: int = 0
    last: float = 0.0
    """When it happened last, in seconds of Unix time."""

    def add(self, since_ns: int) -> int:
        """Counts something that began at `since_ns` of time.perf_counter_ns; how long it took."""
        took = time.perf_counter_ns() - since_ns
        self.last = time.time()
        self.count += 1
        self.ns += took
        return took


@dataclass
class Tallies:
    """What became of one model's requests; the names are those of Triton's statistics."""

    success: Tally = field(default_factory=Tally)
    fail: Tally = field(default_factory=Tally)
    cancel: Tally = field(default_factory=Tally)
    queue: Tally = field(default_factory=Tally)
    compute_input: Tally = field(default_factory=Tally)
    compute_infer: Tally = field(default_factory=Tally)
    compute_output: Tally = field(default_factory=Tally)


@dataclass
class Counts:
    """How much a model has run."""

    images: int = 0
    executions: int = 0
    """Calls of the engine; fewer than images where several were run together."""
    failures: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))


def reason_of(error: BaseException) -> str:
    """Why a request failed, in Triton's words."""
    status = error.status if isinstance(error, Refusal) else 0
    if status in (429, 503, 504):
        return "REJECTED"
    if status == GONE or not isinstance(error, Exception):
        return "CANCELED"
    return "BACKEND" if isinstance(error, Failure) else "OTHER"
