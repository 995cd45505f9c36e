"""One of several processes on a port, from within."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection

import anyio.to_thread

from serve.processes.supervisor import GO, READY


class Line:
    """A worker's line to its supervisor: says when it is ready, hears when all are."""

    def __init__(self, line: Connection) -> None:
        self._line, self._all = line, threading.Event()

    async def all_ready(self) -> None:
        """Says that this one is ready, and waits for the others."""
        with suppress(OSError):
            self._line.send(READY)
        await anyio.to_thread.run_sync(self._all.wait)

    def never_ready(self, why: str) -> None:
        """Says so."""
        with suppress(OSError):
            self._line.send(why)

    def watch(self, stop: Callable[[], None]) -> None:
        """From now on it hears; calls `stop` when there is no supervisor any more."""

        def listen() -> None:
            with suppress(EOFError, OSError):
                while True:
                    if self._line.recv() == GO:
                        self._all.set()
            self._all.set()
            stop()

        threading.Thread(target=listen, name="supervisor", daemon=True).start()
