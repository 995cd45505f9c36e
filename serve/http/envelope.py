"""Around every request: its id, its line in the log, its count, and an answer whatever happens."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import time
from collections.abc import Callable
from contextvars import ContextVar

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.limits import GONE

access = logging.getLogger("serve.access")
log = logging.getLogger(__name__)
request_id: ContextVar[str] = ContextVar("request_id", default="-")
"""The id of the request that is worked on; lines in the log bear it."""

ID_HEADER = "X-Request-Id"
_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,64}")
_FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)s %(request_id)s %(message)s"
STOPPING = "the server stops: try another one, or again later"
BROKEN = "internal error; the server's log says where"

Count = Callable[[str, int], None]


class Envelope:
    """An ASGI app around another; `count` gets each request's route and status."""

    def __init__(self, app: ASGIApp, count: Count) -> None:
        self._app, self._count = app, count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(ID_HEADER, "")
        token = request_id.set(given if _ID.fullmatch(given) else secrets.token_hex(8))
        exchange = _Exchange(receive, send, "websocket." * (scope["type"] == "websocket"))
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:  # by uvicorn, when the time to finish is over
            await exchange.fail(503, STOPPING)
        except Exception:
            log.exception("%s %s failed", scope.get("method", "STREAM"), scope["path"])
            await exchange.fail(500, BROKEN)
        finally:
            self._account(scope, exchange)
            request_id.reset(token)

    def _account(self, scope: Scope, exchange: _Exchange) -> None:
        route = getattr(scope.get("route"), "path", "unknown")
        self._count(route, exchange.status)
        client = scope.get("client") or ("-",)
        access.info(
            "%s %s %s %d in=%d out=%d ms=%.1f",
            client[0],
            scope.get("method", "STREAM"),
            json.dumps(scope["path"])[1:-1],
            exchange.status,
            exchange.bytes_in,
            exchange.bytes_out,
            1e3 * (time.perf_counter() - exchange.began),
        )


class _Exchange:
    """One request's traffic; `prefix` is that of the messages that refuse it."""

    def __init__(self, receive: Receive, send: Send, prefix: str) -> None:
        self._receive, self._send, self._prefix = receive, send, prefix
        self.began = time.perf_counter()
        self.status, self.bytes_in, self.bytes_out = GONE, 0, 0
        self._started = False

    async def receive(self) -> Message:
        message = await self._receive()
        self.bytes_in += _bytes(message)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] in (self._prefix + "http.response.start", "websocket.accept"):
            self._started = True
            self.status = message.get("status", 101)
            MutableHeaders(scope=message)[ID_HEADER] = request_id.get()
        self.bytes_out += _bytes(message)
        await self._send(message)

    async def fail(self, status: int, why: str) -> None:
        """Answers with that, unless an answer has begun."""
        if self._started:
            return
        body = json.dumps({"error": why}).encode()
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "connection": "close",
        } | ({"retry-after": "1"} if status == 503 else {})
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        kind = self._prefix + "http.response."
        await self.send({"type": kind + "start", "status": status, "headers": raw})
        await self.send({"type": kind + "body", "body": body})


def _bytes(message: Message) -> int:
    """How much of a body, or of a stream's frame, a message carries."""
    return len(message.get("body") or message.get("bytes") or message.get("text") or b"")


def log_to_stderr() -> None:
    """Sends all that is logged from INFO on to standard error, one line an event, times in UTC."""
    handler = logging.StreamHandler()
    handler.addFilter(_with_id)
    formatter = logging.Formatter(_FORMAT, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def _with_id(record: logging.LogRecord) -> bool:
    record.request_id = request_id.get()
    return True
