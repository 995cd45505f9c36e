"""One client's connection: what it may leave open, unsent, unread, and for how long."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from serve.limits import Limits

LINGER_SECONDS = 5.0
LINGER_BYTES = 64 << 20
"""How long, and how much, is read and dropped of a body that was refused: a client that sends all
of it first can then read why. After that the connection is closed."""


class NotUnread(asyncio.Protocol):
    """What cuts off a client that leaves unread for too long what it was sent."""

    limits: Limits
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    _unread: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self.must_be_read()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._unread is not None:
            self._unread.cancel()
        super().connection_lost(exc)

    def must_be_read(self) -> None:
        """From now on, within the limit."""
        self._unread = self.loop.call_later(self.limits.answer_seconds, self.transport.abort)


class Connection(NotUnread, H11Protocol):
    """uvicorn's, which waits for ever: for headers, for a refused body's end, for a reader."""

    _deadline: asyncio.TimerHandle | None = None
    _dropped = 0

    @property
    def idle_since(self) -> float | None:
        """Since when nothing is asked for on it, in the event loop's time; None: it is at work."""
        return None if self.cycle and not self.cycle.response_complete else self._idle_since

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._idle_since = self.loop.time()
        self._end_within(self.limits.header_seconds)
        near = [other for other in self.connections if _address(other) == _address(self)]
        for others, most in (
            (near, self.limits.address_connections),
            (self.connections, self.limits.connections),
        ):
            if len(others) > most:
                if not self._take_anothers_place(others):
                    self._refuse()
                return

    def data_received(self, data: bytes) -> None:
        if self._is_refused_body:
            self._dropped += len(data)
            if self._dropped > LINGER_BYTES:
                self.transport.abort()
                return
        if not self.transport.is_closing():
            super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        self._idle_since = self.loop.time()
        super().on_response_complete()
        self._watch()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self.must_be_read()  # closing waits for what is still unread

    @property
    def _is_refused_body(self) -> bool:
        """Whether an answer was sent and the request's body still comes in."""
        answered = bool(self.cycle) and self.cycle.response_complete
        return answered and self.conn.their_state is h11.SEND_BODY

    def _watch(self) -> None:
        """Sets the time by which the client must have done what is its turn to do."""
        if self._is_refused_body:
            self._unset_keepalive_if_required()
            self._end_within(LINGER_SECONDS)
        elif self.conn.their_state is h11.IDLE and self.timeout_keep_alive_task is None:
            self._end_within(self.limits.header_seconds)
        elif self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
            self._dropped = 0

    def _end_within(self, seconds: float) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(seconds, self.transport.abort)

    def _take_anothers_place(self, of: Iterable[Any]) -> bool:
        """Closes the one of them that idles longest; False when all are at work."""
        others = [c for c in of if isinstance(c, Connection) and c is not self]
        idle = [c for c in others if c.idle_since is not None and not c.transport.is_closing()]
        if not idle:
            return False
        min(idle, key=lambda c: c.idle_since or 0.0).transport.abort()
        return True

    def _refuse(self) -> None:
        text = json.dumps({"error": "too many connections are open: try again later"}).encode()
        head = (
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(text)}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + text)
        self.transport.close()


def _address(connection: Any) -> str:
    """Where its client is; a stream's counts too."""
    return connection.client[0] if connection.client else ""


def connections_within(limits: Limits) -> type[Connection]:
    """The class of connections under these limits."""
    return type("Connection", (Connection,), {"limits": limits})


class Complaints:
    """What the event loop has to say about connections, said at most once in ten seconds.

    Where no descriptor is left for a new connection, it says so for each one that waits.
    """

    def __init__(self) -> None:
        self._quiet_until = 0.0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if isinstance(context.get("exception"), OSError):
            if loop.time() < self._quiet_until:
                return
            self._quiet_until = loop.time() + 10.0
        loop.default_exception_handler(context)
