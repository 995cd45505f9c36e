"""What keeps visitors apart and the machine on its feet: bounds, a short queue, closed doors."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from serve.limits import GONE, Refusal

T = TypeVar("T")
WAITING = 8
"""Visitors that may wait behind the one whose picture is worked on."""
FULL = "Many people use this demo just now: try again in a few seconds."
BODY_SECONDS = 60.0
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
    """One picture at a time, and few that wait: whoever comes then is told so at once."""

    def __init__(self, waiting: int = WAITING, full: str = FULL) -> None:
        self._most, self._inside, self._full = waiting + 1, 0, full
        self._engine = anyio.CapacityLimiter(1)

    @asynccontextmanager
    async def place(self) -> AsyncGenerator[None]:
        """A place for one request, from before its body is read; Refusal (503): none is free."""
        if self._inside >= self._most:
            raise Refusal(503, self._full)
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Runs `work` in a thread when its turn has come."""
        return await anyio.to_thread.run_sync(work, *arguments, limiter=self._engine)


async def read_body(request: Request, most: int) -> bytes:
    """The body; Refusal: 413 for more than `most` bytes, 408 where it takes too long."""
    body = bytearray()
    try:
        with anyio.fail_after(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise Refusal(
                        413, f"This file is too large: at most {most >> 20} MB are taken."
                    )
    except TimeoutError:
        raise Refusal(
            408, "The file did not arrive in time: try again, or a smaller one."
        ) from None
    except ClientDisconnect:
        raise Refusal(GONE, "the client has gone") from None
    return bytes(body)


class Doors:
    """An ASGI app around the page: lets through what the page asks for, and nothing else.

    Gradio keeps uploads in folders that all visitors share, and answers for functions by number.
    This page uses neither, so both are closed. Another site's page may not send requests either.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (reason := self._closed(scope)):
            await JSONResponse({"error": reason}, 403)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _closed(self, scope: Scope) -> str:
        first, _, rest = scope["path"].lstrip("/").partition("/")
        if first == "gradio_api":
            first = rest.partition("/")[0]
        if first not in ("", "roadshift", *OPEN_GRADIO):
            return "this page has no such door"
        site = Headers(scope=scope).get("sec-fetch-site", "none")
        if scope["method"] == "POST" and site not in ("none", "same-origin"):
            return "requests from other sites are not answered"
        return ""
