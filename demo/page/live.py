"""A visitor's camera, segmented while it runs: pictures in over a WebSocket, label maps out."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import suppress
from typing import NamedTuple

from starlette.websockets import WebSocket, WebSocketDisconnect

from demo.page.clip import MOST_PIXELS
from demo.page.segmentation import Segmenting, labels_of, learnt_size, working_size
from demo.page.visitors import LIMITS, Queue
from export.bundle import Bundle
from roadshift import UserError
from serve.http.stream.frame_stream import TRY_AGAIN_LATER, FrameAnswer, answer_frames
from serve.http.stream.newest_frame import StreamedFrame
from serve.limits import Limits, Refusal
from serve.media.codec import decode, encode_png

FULL = "Others use the live camera just now: try again in a minute."
LONG = "you have used it for some minutes and another visitor waits for a place"
PATIENCE = 180.0
"""Seconds that a visitor may watch while others wait for a place."""


class _Visit(NamedTuple):
    began: float
    sent_away: asyncio.Future[str]


class LiveView:
    """The visitors whose cameras are looked at: few at a time, one picture of each under way.

    Every picture takes its turn among the pictures that others send, so a visitor who watches holds
    nobody up by more than one of them. Nothing is kept.
    """

    def __init__(self, engine: Segmenting, queue: Queue, limits: Limits = LIMITS) -> None:
        self._engine, self._queue, self._limits = engine, queue, limits
        self._watching: list[_Visit] = []
        """Who came first stands first."""

    async def watch(self, socket: WebSocket) -> None:
        """Answers one visitor's pictures, the newest first; see `answer_frames`.

        Each answer is the picture's height and width and the milliseconds that it took, and a PNG
        of class ids at its size. Who finds no place is told by the code and reason of the close: a
        browser shows a page nothing else of a WebSocket that was refused. Whoever has watched for
        more than PATIENCE seconds then makes room for the next one who asks.
        """
        if len(self._watching) >= self._limits.streams:
            self._make_room()
            with suppress(WebSocketDisconnect):
                await socket.accept()
                await socket.close(TRY_AGAIN_LATER, FULL)
            return
        visit = _Visit(time.monotonic(), asyncio.get_running_loop().create_future())
        self._watching.append(visit)
        try:
            seconds = self._limits.stream_idle_seconds
            await answer_frames(socket, seconds, self._answer, lambda _: None, visit.sent_away)
        finally:
            self._watching.remove(visit)

    def _make_room(self) -> None:
        """Sends the one away who has watched longest, if that is long."""
        first = self._watching[0]
        if time.monotonic() - first.began > PATIENCE and not first.sent_away.done():
            first.sent_away.set_result(LONG)

    async def _answer(self, frame: StreamedFrame) -> FrameAnswer:
        async with self._queue.place():
            try:
                return await self._queue.run(_segmented, self._engine, frame.content)
            except Refusal:
                raise
            except UserError as error:
                raise Refusal(400, str(error)) from error


def live_pixels(bundle: Bundle) -> int:
    """The pixels to which the browser scales the camera's pictures down: as many as in those that
    the network learnt from, where the bundle says so."""
    learnt = learnt_size(bundle)
    return min(MOST_PIXELS, math.prod(learnt)) if learnt else MOST_PIXELS


def _segmented(engine: Segmenting, content: bytes) -> FrameAnswer:
    start = time.perf_counter()
    image = decode(content, MOST_PIXELS)
    size = image.shape[0], image.shape[1]
    labels = labels_of(engine, image, working_size(engine.bundle, size, "own"))
    png = encode_png(labels)
    milliseconds = 1000 * (time.perf_counter() - start)
    return FrameAnswer({"height": size[0], "width": size[1], "milliseconds": milliseconds}, png)
