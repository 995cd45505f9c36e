"""One model's line for the device: who waits, who has left, what is run together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, TypeAlias

import anyio
import numpy as np
from numpy.typing import NDArray

from serve.limits import Limits, Refusal
from serve.models.metrics import ModelMetrics
from serve.models.workers import Workers, now, until
from serve.runtime.graph import Graph

Outputs: TypeAlias = dict[str, NDArray[Any]]


class SharedDevice:
    """What all models of a server run on, one call at a time."""

    def __init__(self) -> None:
        self.turn = asyncio.Semaphore(1)
        self.thread = Workers("at the engine", 1)


@dataclass(eq=False)
class _Job:
    values: NDArray[np.uint8]
    wanted: tuple[str, ...]
    answer: asyncio.Future[Outputs]
    first: bool
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    joined: float = field(default_factory=now)
    joined_ns: int = field(default_factory=time.perf_counter_ns)
    context: Context = field(default_factory=copy_context)
    """The request's own: the line works in the context of whoever came first."""

    def goes_with(self, other: _Job) -> bool:
        return self.wanted == other.wanted and self.values.shape[1:] == other.values.shape[1:]


class Batcher:
    """Images of one size that wait together are run together, `limits.max_batch` at most.

    Models share a device in turn. Whoever stops waiting leaves the line and is not run.
    """

    def __init__(
        self, graph: Graph, device: SharedDevice, limits: Limits, metrics: ModelMetrics
    ) -> None:
        self._graph, self._device, self._metrics = graph, device, metrics
        self._places = limits.waiting + 1
        self._most = 1 if graph.inputs[0].shape[0] == 1 else limits.max_batch
        self._delay = limits.batch_delay_ms / 1e3
        self._line: list[_Job] = []
        self._running = 0
        self._joined = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    @property
    def taken(self) -> int:
        """How many requests are being run or waiting."""
        return self._running + len(self._line)

    def require_room(self) -> None:
        """Raises Refusal 429 when the line is full."""
        if self.taken >= self._places:
            raise Refusal(
                429, f"{self.taken} requests are being worked on or waiting: try again later"
            )

    async def run(
        self,
        values: NDArray[np.uint8],
        wanted: Sequence[str],
        deadline: float | None,
        *,
        first: bool = False,
    ) -> Outputs:
        """The wanted outputs for images [n,h,w,...], when their turn has come.

        `first` comes before all that are not, and behind those that are. Raises Refusal: 429 when
        the line is full, 504 when `deadline` (of `now`) comes first; and what the graph raises.
        """
        self.require_room()
        job = _Job(values, tuple(wanted), asyncio.get_running_loop().create_future(), first)
        self._line.append(job)
        self._line.sort(key=lambda each: not each.first)
        self._joined.set()
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        try:
            with until(deadline, "before its turn came: it was not run"):
                await job.begun.wait()
            with until(deadline, "while it was run"):
                return await job.answer
        finally:
            job.answer.cancel()
            if job in self._line:
                self._line.remove(job)

    async def _work(self) -> None:
        while self._line:
            await self._gather()
            async with self._device.turn:
                if self._line:  # all may have left meanwhile
                    await self._run(self._batch())

    async def _gather(self) -> None:
        """Waits for company as long as the first in the line may be kept waiting for it."""
        while self._line and sum(len(job.values) for job in self._line) < self._most:
            left = self._line[0].joined + self._delay - now()
            if left <= 0:
                return
            self._joined.clear()
            with anyio.move_on_after(left):
                await self._joined.wait()

    def _batch(self) -> list[_Job]:
        """The first in the line and who goes with it, taken out of the line."""
        batch, count = self._line[:1], 0
        for job in self._line:
            if job.goes_with(batch[0]) and (not count or count + len(job.values) <= self._most):
                count += len(job.values)
                batch += [job] if job is not batch[0] else []
        self._line = [job for job in self._line if job not in batch]
        return batch

    async def _run(self, batch: Sequence[_Job]) -> None:
        for job in batch:
            job.context.run(self._metrics.stage, "queue", job.joined_ns)
            job.begun.set()
        self._running = len(batch)
        try:
            await self._answer(batch)
        finally:
            self._running = 0

    async def _answer(self, batch: Sequence[_Job]) -> None:
        began = time.perf_counter_ns()
        try:
            found = await self._device.thread.run(lambda: self._together(batch))
        except Exception as error:
            if len(batch) == 1:
                _give(batch[0], error)
            for job in batch if len(batch) > 1 else ():  # only the guilty one shall fail
                await self._answer([job])
            return
        images = [len(job.values) for job in batch]
        self._metrics.ran(sum(images), began)
        for job in batch:
            job.context.run(self._metrics.trace, "compute_infer", began)
        for job, end, count in zip(batch, accumulate(images), images, strict=True):
            _give(job, {name: array[end - count : end] for name, array in found.items()})

    def _together(self, batch: Sequence[_Job]) -> Outputs:
        values = [job.values for job in batch]
        images = values[0] if len(values) == 1 else np.concatenate(values)
        return self._graph.run(images, list(batch[0].wanted))


def _give(job: _Job, result: Outputs | Exception) -> None:
    if job.answer.done():  # nobody waits any more
        return
    if isinstance(result, Exception):
        job.answer.set_exception(result)
    else:
        job.answer.set_result(result)
