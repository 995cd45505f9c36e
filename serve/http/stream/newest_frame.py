"""A place for one frame."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from serve.models.workers import now


class StreamedFrame(NamedTuple):
    """An image file's bytes, which of its stream's it is (from 1 on), and when it arrived."""

    number: int
    content: bytes
    arrived: float


class NewestFrame:
    """Holds the frame that came last; one that was not taken before is lost and counted."""

    def __init__(self, lost: Callable[[], None]) -> None:
        """`lost` is called for each one that is."""
        self._lost = lost
        self.received = self.dropped = 0
        self._frame: StreamedFrame | None = None
        self._ended = False
        self._news = asyncio.Event()

    def put(self, content: bytes) -> None:
        """Another frame has arrived, now."""
        self._drop()
        self.received += 1
        self._frame = StreamedFrame(self.received, content, now())
        self._news.set()

    def end(self) -> None:
        """No more frames are wanted; what was not taken is lost."""
        self._drop()
        self._ended = True
        self._news.set()

    async def take(self) -> StreamedFrame | None:
        """The newest frame, once there is one; None after the end."""
        while self._frame is None and not self._ended:
            self._news.clear()
            await self._news.wait()
        frame, self._frame = self._frame, None
        return frame

    def _drop(self) -> None:
        if self._frame is not None:
            self._frame = None
            self.dropped += 1
            self._lost()
