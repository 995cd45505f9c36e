"""Frames over one WebSocket: read and answered at the same time, and the newest one wins."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple

import anyio
from starlette.websockets import WebSocket, WebSocketDisconnect

from roadshift import Failure
from serve.http.stream.newest_frame import NewestFrame, StreamedFrame
from serve.http.stream.stream_connection import RESTARTS
from serve.limits import Refusal

log = logging.getLogger(__name__)
_WRONG_DATA, _POLICY = 1003, 1008
TRY_AGAIN_LATER = 1013
"""The code of RFC 6455's registry for a server that is too busy to take another client."""
_LAST_WORD_SECONDS = 1.0


class FrameAnswer(NamedTuple):
    """What is sent of one frame: JSON values, and after them the content."""

    head: dict[str, Any]
    content: bytes


class _Ending(NamedTuple):
    """Why a stream ends: a code of RFC 6455, and a sentence."""

    code: int
    why: str


_STOPPING = _Ending(RESTARTS, "the server stops: try another one, or again later")


async def answer_frames(
    socket: WebSocket,
    idle_seconds: float,
    answer: Callable[[StreamedFrame], Awaitable[FrameAnswer]],
    count: Callable[[str], None],
    sent_away: asyncio.Future[str] | None = None,
) -> None:
    """Accepts the client, and answers its frames until it leaves, sends none for too long, or the
    server stops; or until `sent_away` has a sentence that says why (code 1013).

    Each answer is a text message of JSON, the frame's number and how many were dropped among its
    values, and a binary one. Where `answer` raises Refusal or fails the first says why, as `error`
    and `status`, and there is no second. `count` is told of each frame's outcome: answered,
    refused, dropped.
    """
    try:
        await socket.accept()
        await _FrameStream(socket, idle_seconds, answer, count).run(sent_away)
    except WebSocketDisconnect:
        pass
    except asyncio.CancelledError:  # the time to finish is over
        with anyio.move_on_after(_LAST_WORD_SECONDS, shield=True):
            await socket.close(*_STOPPING)


class _FrameStream:
    """One client's frames and answers."""

    def __init__(
        self,
        socket: WebSocket,
        idle_seconds: float,
        answer: Callable[[StreamedFrame], Awaitable[FrameAnswer]],
        count: Callable[[str], None],
    ) -> None:
        self._socket, self._idle_seconds = socket, idle_seconds
        self._answer, self._count = answer, count
        self._slot = NewestFrame(lambda: count("dropped"))
        self._ending: _Ending | None = None

    async def run(self, sent_away: asyncio.Future[str] | None) -> None:
        """Reads and answers at the same time, till one of both ends."""
        async with anyio.create_task_group() as both:
            both.start_soon(self._read, both.cancel_scope)
            if sent_away is not None:
                both.start_soon(self._leave, sent_away)
            with suppress(WebSocketDisconnect):
                await self._answer_all()
            both.cancel_scope.cancel()
        self._slot.end()
        if self._ending is not None:
            await self._socket.close(*self._ending)

    async def _read(self, work: anyio.CancelScope) -> None:
        """Takes in frames; ends the work under way when its client has left."""
        while self._ending is None:
            message: dict[str, Any] = {}
            with anyio.move_on_after(self._idle_seconds):
                message = dict(await self._socket.receive())
            if message.get("bytes") is not None:
                self._slot.put(message["bytes"])
            elif message.get("text") is not None:
                self._ending = _Ending(_WRONG_DATA, "send image files, as binary messages")
            elif not message:
                why = f"no frame came in for {self._idle_seconds:g} s"
                self._ending = _Ending(_POLICY, why)
            elif message.get("code") == RESTARTS:
                self._ending = _STOPPING
            else:
                work.cancel()
                return
        self._slot.end()

    async def _leave(self, sent_away: asyncio.Future[str]) -> None:
        """Ends the stream after the frame under way."""
        self._ending = _Ending(TRY_AGAIN_LATER, await sent_away)
        self._slot.end()

    async def _answer_all(self) -> None:
        while (frame := await self._slot.take()) is not None:
            try:
                head, content = await self._answer_or_why(frame)
            except asyncio.CancelledError:
                self._count("dropped")
                raise
            self._count("refused" if content is None else "answered")
            counted = {"frame": frame.number, "dropped": self._slot.dropped}
            await self._socket.send_text(json.dumps(counted | head))
            if content is not None:
                await self._socket.send_bytes(content)

    async def _answer_or_why(self, frame: StreamedFrame) -> tuple[dict[str, Any], bytes | None]:
        """The answer's head and its content; None where the head says why there is none."""
        status, why = 500, "internal error; the server's log says where"
        try:
            return await self._answer(frame)
        except Refusal as refusal:
            status, why = refusal.status, str(refusal)
        except Failure as failure:
            log.error("%s", failure)
            why = "the engine failed; the server's log says why"
        except Exception:
            log.exception("a frame of a stream failed")
        return {"error": why, "status": status}, None
