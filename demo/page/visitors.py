"""What keeps visitors apart and the machine on its feet: bounds, a short queue, closed doors."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from serve.http.body import read_body
from serve.limits import Limits, Refusal
from serve.models.byte_budget import ByteBudget, Share

T = TypeVar("T")
Gone = Callable[[], Awaitable[bool]]
LIMITS = Limits(streams=3, frame_bytes=1 << 20, stream_idle_seconds=20.0)
"""Of what comes in over the network; a stream is a visitor's live camera."""
LIVE = "/roadshift/live"
AGAIN = 0.05
"""Seconds between two looks for a free place."""
WAITING = 8
"""Visitors that may wait behind the one whose picture is worked on."""
FULL = "Many people use this demo just now: try again in a few seconds."
PLAINLY = {
    413: "This file is too large: at most {megabytes} MB are taken.",
    408: "The file did not arrive in time: try again, or a smaller one.",
    429: FULL,
}
"""What the person at the browser is told in place of the server's words, by status."""
# Gradio's own doors that the page needs; the others would take files or run functions.
OPEN_GRADIO = (
    "assets",
    "static",
    "theme.css",
    "config",
    "favicon.ico",
    "heartbeat",
    "info",
    "app_id",
)


class Queue:
    """One picture at a time, and few that wait: whoever comes then is told so, at once or after
    `patience` seconds in which no place became free."""

    def __init__(self, waiting: int = WAITING, full: str = FULL, patience: float = 0.0) -> None:
        self._most, self._inside, self._full = waiting + 1, 0, full
        self._patience = patience
        self._engine = anyio.CapacityLimiter(1)

    @asynccontextmanager
    async def place(self) -> AsyncGenerator[None]:
        """A place for one request whose body is in; Refusal (503): none is free."""
        with anyio.move_on_after(self._patience):
            while self._inside >= self._most:
                await anyio.sleep(AGAIN)
        if self._inside >= self._most:
            raise Refusal(503, self._full)
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    async def run(self, work: Callable[..., T], *arguments: Any, gone: Gone | None = None) -> T:
        """Runs `work` in a thread when its turn has come; Refusal (499): its visitor is `gone`."""
        async with self._engine:
            if gone is not None and await gone():
                raise Refusal(499, "the visitor has left")
            return await anyio.to_thread.run_sync(work, *arguments)


@asynccontextmanager
async def received(request: Request, most: int, bodies: ByteBudget) -> AsyncGenerator[bytes]:
    """The body, read as the server reads them, before there is a place for it; counted as held.

    Refusal: 413 for more than `most` bytes, 408 where it takes too long, 429 where all bodies
    together are too many.
    """
    limits = replace(LIMITS, body_bytes=most)
    with Share(bodies) as share:
        try:
            body = await read_body(request, limits, share)
        except Refusal as refusal:
            words = PLAINLY.get(refusal.status, str(refusal))
            raise Refusal(refusal.status, words.format(megabytes=most >> 20)) from refusal
        yield body


class Doors:
    """An ASGI app around the page: lets through what the page asks for, and nothing else.

    Gradio keeps uploads in folders that all visitors share, and answers for functions by number.
    This page uses neither, so both are closed. Another site's page may not send requests either.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and (reason := self._closed(scope)):
            await JSONResponse({"error": reason}, 403)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _closed(self, scope: Scope) -> str:
        opens_socket = scope["type"] == "websocket"
        first, _, rest = scope["path"].lstrip("/").partition("/")
        if first == "gradio_api":
            first = rest.partition("/")[0]
        if first not in ("", "roadshift", *OPEN_GRADIO) or (opens_socket and scope["path"] != LIVE):
            return "this page has no such door"
        site = Headers(scope=scope).get("sec-fetch-site", "none")
        sends = opens_socket or scope["method"] == "POST"
        if sends and site not in ("none", "same-origin"):
            return "requests from other sites are not answered"
        return ""
