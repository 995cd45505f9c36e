"""One client's WebSocket: what it may send in pieces, leave unread, and how it is told to go."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from serve.http.connection import NotUnread
from serve.limits import Limits

RESTARTS = 1012
"""The code of RFC 6455's registry for a server that stops."""
_TOO_BIG = 1009
_MOST_PIECES = 1024
"""The most pieces of one message: empty ones cost memory that no limit of bytes sees."""


class StreamConnection(NotUnread, WebSocketsSansIOProtocol):
    """uvicorn's, which keeps what a client does not read, and cuts off a frame when it stops."""

    def handle_cont(self, event: Any) -> None:
        if len(self.frames) < _MOST_PIECES:
            super().handle_cont(event)
        elif not self.close_sent:
            self.conn.fail(_TOO_BIG, f"a message of more than {_MOST_PIECES} pieces")
            self.handle_parser_exception()

    def handle_ping(self) -> None:
        if self.writable.is_set():
            super().handle_ping()
        else:  # or a client that only pings, and never reads, fills the memory
            self.conn.data_to_send()

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True  # refused: else the log has an error that is none

    def shutdown(self) -> None:
        if self.handshake_complete and not self.close_sent:
            # The app ends the stream, once the frame under way is answered.
            self.queue.put_nowait({"type": "websocket.disconnect", "code": RESTARTS})
        else:
            super().shutdown()


def streams_within(limits: Limits) -> type[StreamConnection]:
    """The class of WebSockets under these limits."""
    return type("StreamConnection", (StreamConnection,), {"limits": limits})
