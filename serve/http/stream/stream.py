"""WebSocket /stream: image files in, one a message; an answer to the newest, as soon as may be."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from typing import Any, NamedTuple

import anyio
from starlette.websockets import WebSocket, WebSocketDisconnect

from roadshift import Failure
from serve.http.segment import SegmentQuery, SegmentWork, asked_model, asked_query
from serve.http.stream.newest_frame import NewestFrame, StreamedFrame
from serve.http.stream.stream_connection import RESTARTS
from serve.limits import Refusal
from serve.media.answers import File
from serve.models.byte_budget import Share
from serve.models.service import Service
from serve.models.workers import deadline_of

log = logging.getLogger(__name__)
_WRONG_DATA, _POLICY = 1003, 1008
_LAST_WORD_SECONDS = 1.0


class _Ending(NamedTuple):
    """Why a stream ends: a code of RFC 6455, and a sentence."""

    code: int
    why: str


_STOPPING = _Ending(RESTARTS, "the server stops: try another one, or again later")


async def stream(service: Service, socket: WebSocket) -> None:
    """Answers frames until the client leaves, sends none for too long, or the server stops.

    Each answer is a text message of JSON, and unless that holds an `error` a binary one with what
    was asked for. Raises Refusal before the stream begins.
    """
    model = asked_model(service, socket.query_params)
    query = asked_query(socket.query_params)
    if query.monitor:
        service.monitor.require(model)
    service.require_ready()
    if service.streams >= service.limits.streams:
        raise Refusal(503, f"{service.streams} streams are open: try again later")
    service.streams += 1
    try:
        await socket.accept()
        await _Stream(service, query, socket).run()
    except WebSocketDisconnect:
        pass
    except asyncio.CancelledError:  # the time to finish is over
        with anyio.move_on_after(_LAST_WORD_SECONDS, shield=True):
            await socket.close(*_STOPPING)
    finally:
        service.streams -= 1


class _Stream:
    """One client's frames and answers."""

    def __init__(self, service: Service, query: SegmentQuery, socket: WebSocket) -> None:
        self._service, self._query, self._socket = service, query, socket
        self._slot = NewestFrame(lambda: self._count("dropped"))
        self._ending: _Ending | None = None

    async def run(self) -> None:
        """Reads and answers at the same time, till one of both ends."""
        async with anyio.create_task_group() as both:
            both.start_soon(self._read, both.cancel_scope)
            with suppress(WebSocketDisconnect):
                await self._answer_all()
            both.cancel_scope.cancel()
        self._slot.end()
        if self._ending is not None:
            await self._socket.close(*self._ending)

    async def _read(self, work: anyio.CancelScope) -> None:
        """Takes in frames; ends the work under way when its client has left."""
        seconds = self._service.limits.stream_idle_seconds
        while self._ending is None:
            message: dict[str, Any] = {}
            with anyio.move_on_after(seconds):
                message = dict(await self._socket.receive())
            if message.get("bytes") is not None:
                self._slot.put(message["bytes"])
            elif message.get("text") is not None:
                self._ending = _Ending(_WRONG_DATA, "send image files, as binary messages")
            elif not message:
                self._ending = _Ending(_POLICY, f"no frame came in for {seconds:g} s")
            elif message.get("code") == RESTARTS:
                self._ending = _STOPPING
            else:
                work.cancel()
                return
        self._slot.end()

    async def _answer_all(self) -> None:
        while (frame := await self._slot.take()) is not None:
            try:
                head, file = await self._answer(frame)
            except asyncio.CancelledError:
                self._count("dropped")
                raise
            self._count("refused" if file is None else "answered")
            counted = {"frame": frame.number, "dropped": self._slot.dropped}
            await self._socket.send_text(json.dumps(counted | head))
            if file is not None:
                await self._socket.send_bytes(file.content)

    async def _answer(self, frame: StreamedFrame) -> tuple[dict[str, Any], File | None]:
        """The answer's head, and the answer; None where the head says why there is none."""
        service = self._service
        deadline = deadline_of(frame.arrived, self._query.timeout)
        status, why = 500, "internal error; the server's log says where"
        try:
            model = asked_model(service, self._socket.query_params)
            with service.accounted(model), Share(service.bodies) as share:
                share.take(len(frame.content))
                work = SegmentWork(service, model, self._query, deadline)
                file, times, checked = await work.answer(frame.content, "")
            score = {"monitor_score": round(checked[0].score, 3)} if checked else {}
            return {"type": file.media_type, "times": times, **score}, file
        except Refusal as refusal:
            status, why = refusal.status, str(refusal)
        except Failure as failure:
            log.error("%s", failure)
            why = "the engine failed; the server's log says why"
        except Exception:
            log.exception("a frame of a stream failed")
        return {"error": why, "status": status}, None

    def _count(self, outcome: str) -> None:
        self._service.metrics.frames.labels(outcome).inc()
