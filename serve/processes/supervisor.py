"""Worker processes that share a listening socket: begun, kept alive, stopped together."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Any

from roadshift import Failure

log = logging.getLogger(__name__)
Work = Callable[[int, socket.socket, Connection, bool], None]
"""What a worker does until it is told to stop: its number, the socket, its line to the supervisor,
and whether another one had its place before (then it listens only once it is ready). It sends
`READY` when it is, or why it never will be; and is sent `GO` when all are."""
READY, GO = "ready", "go"
LEAST_PAUSE, MOST_PAUSE = 0.5, 60.0
"""Seconds before a worker that died is replaced: twice as many each time, ..."""
WELL = 60.0
"""... unless it had been there for so long."""
_LAST_SECONDS = 5.0
"""After the grace period, until what still runs is killed."""


@dataclass(eq=False)
class _Worker:
    number: int
    process: SpawnProcess
    line: Connection
    began: float
    pause: float
    is_ready: bool = False


class Supervisor:
    """`count` processes that do `work` on one socket, which is bound and listens already.

    One that dies is replaced. Ends at SIGTERM or SIGINT, when all have ended by themselves within
    `grace` seconds.
    """

    def __init__(self, work: Work, bound: socket.socket, count: int, grace: float) -> None:
        self._work, self._bound, self._count, self._grace = work, bound, count, grace
        self._processes = multiprocessing.get_context("spawn")
        self._workers: dict[int, _Worker] = {}
        self._due: dict[int, tuple[float, float]] = {}
        """By number, when a worker that died is replaced, and its pause."""
        self._gone = False
        self._woken, self._wake = multiprocessing.Pipe(duplex=False)

    def run(self) -> None:
        """Until a signal says so; Failure when a worker ends before all have been ready once."""
        before = {sig: signal.signal(sig, self._stop) for sig in (signal.SIGTERM, signal.SIGINT)}
        try:
            for number in range(self._count):
                self._begin(number, LEAST_PAUSE)
            while not self._woken.poll():
                self._look()
        finally:
            self._end()
            for sig, handler in before.items():
                signal.signal(sig, handler)

    def _stop(self, _: int, __: FrameType | None) -> None:
        self._wake.send(None)

    def _begin(self, number: int, pause: float, *, again: bool = False) -> None:
        ours, theirs = multiprocessing.Pipe()
        arguments = (number, self._bound, theirs, again)
        process = self._processes.Process(
            target=self._work, args=arguments, name=f"worker {number}"
        )
        process.start()
        theirs.close()
        self._workers[number] = _Worker(number, process, ours, time.monotonic(), pause)
        log.info("worker %d is process %d", number, process.pid)

    def _look(self) -> None:
        """Waits for what happens next, and does what it asks for."""
        now = time.monotonic()
        for number, (due, pause) in list(self._due.items()):
            if due <= now:
                del self._due[number]
                self._begin(number, pause, again=True)
        workers = list(self._workers.values())
        things: list[Any] = [self._woken, *(worker.process.sentinel for worker in workers)]
        things += [worker.line for worker in workers if not worker.is_ready]
        left = min((due for due, _ in self._due.values()), default=None)
        happened = wait(things, None if left is None else max(0.0, left - time.monotonic()))
        for worker in workers:
            if worker.line in happened:
                self._heard(worker)
            elif worker.process.sentinel in happened:
                self._died(worker, _ended(worker))

    def _heard(self, worker: _Worker) -> None:
        try:
            said = worker.line.recv()
        except (EOFError, OSError):
            said = _ended(worker)
        if said != READY:
            self._died(worker, said)
            return
        worker.is_ready = True
        all_ready = len(self._workers) == self._count
        if self._gone or (all_ready and all(each.is_ready for each in self._workers.values())):
            going = [worker] if self._gone else list(self._workers.values())
            self._gone = True
            for each in going:
                with suppress(OSError):  # it died meanwhile, which is seen next
                    each.line.send(GO)
            log.info("ready: %s", ", ".join(f"worker {each.number}" for each in going))

    def _died(self, worker: _Worker, why: str) -> None:
        if not self._gone:
            raise Failure(f"worker {worker.number} did not become ready: {why}")
        worker.process.kill()  # it may have said why, and still be there
        worker.process.join()
        worker.line.close()
        del self._workers[worker.number]
        was_well = worker.is_ready and time.monotonic() - worker.began > WELL
        pause = LEAST_PAUSE if was_well else worker.pause
        self._due[worker.number] = time.monotonic() + pause, min(MOST_PAUSE, 2 * pause)
        log.error("worker %d: %s; another one begins in %g s", worker.number, why, pause)

    def _end(self) -> None:
        """Passes the signal on, and waits."""
        self._bound.close()  # or who comes now waits for an answer
        for worker in self._workers.values():
            worker.process.terminate()
            worker.line.close()
        end = time.monotonic() + self._grace + _LAST_SECONDS
        for worker in self._workers.values():
            worker.process.join(max(0.0, end - time.monotonic()))
            if worker.process.exitcode is None:
                log.error("worker %d did not stop: it is killed", worker.number)
                worker.process.kill()
                worker.process.join()


def _ended(worker: _Worker) -> str:
    """How, in words: its exit code is there a moment after the sign that it ends."""
    worker.process.join()
    return f"it ended with exit code {worker.process.exitcode}"
