"""One WebSocket to a server's /stream: an image file out, its overlay back."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from roadshift import Failure, UserError
from serve.media.codec import decode

_ANSWER_SECONDS = 60.0
"""So long a frame's answer, or a place in a full line, is waited for."""
_BUSY, _BUSY_SECONDS = (429, 503), 0.2
_ANSWER_BYTES = 256 << 20
_ENDED = (ConnectionClosed, OSError)


class RemoteServer(NamedTuple):
    """Where a server is, http://HOST:PORT, and the key that it wants, or None."""

    url: str
    key: str | None = None

    @property
    def stream(self) -> str:
        """The address of its overlays' stream; UserError for what is no server's."""
        scheme, place, path, query, _ = urlsplit(self.url)
        schemes = {"http": "ws", "https": "wss"}
        if scheme not in schemes or not place or path not in ("", "/") or query:
            raise UserError(f"--server is {self.url!r}: wanted http://HOST:PORT or https://HOST")
        return f"{schemes[scheme]}://{place}/stream?as=overlay"


@contextmanager
def overlay_stream(server: RemoteServer) -> Generator[OverlayStream]:
    """A stream of overlays.

    Raises UserError for a key that is missing or wrong, Failure where no server answers, or it
    opens no stream.
    """
    headers = {"Authorization": f"Bearer {server.key}"} if server.key else {}
    dial = partial(connect, additional_headers=headers, compression=None, max_size=_ANSWER_BYTES)
    with ExitStack() as stack:
        try:
            socket = stack.enter_context(dial(server.stream))
        except InvalidStatus as refused:
            raise _refusal(server, refused) from refused
        except (OSError, InvalidHandshake) as error:
            raise Failure(
                f"no roadshift server answers at {server.url} ({error}): is it started, and is "
                "the port its own?"
            ) from error
        yield OverlayStream(server, socket)


class OverlayStream:
    """A stream with one frame under way, so that the server, where the newest wins, drops none."""

    def __init__(self, server: RemoteServer, socket: ClientConnection) -> None:
        self._server, self._socket = server, socket

    def overlay(self, number: int, content: bytes) -> NDArray[np.uint8]:
        """The overlay RGB [h,w,3] of an image file; `number` is for errors.

        Raises UserError for a frame that the server does not take, Failure for everything else.
        """
        latest = time.monotonic() + _ANSWER_SECONDS
        try:
            while True:
                self._socket.send(content)
                head = json.loads(self._socket.recv(timeout=_ANSWER_SECONDS))
                if "error" not in head:
                    return decode(_bytes(self._socket.recv(timeout=_ANSWER_SECONDS)))
                if head["status"] not in _BUSY or time.monotonic() > latest:
                    raise self._refused(number, head)
                time.sleep(_BUSY_SECONDS)
        except TimeoutError as error:
            raise Failure(
                f"{self._server.url} did not answer frame {number} within {_ANSWER_SECONDS:g} s"
            ) from error
        except _ENDED as error:
            raise Failure(f"{self._server.url} ended at frame {number}: {error}") from error

    def _refused(self, number: int, head: dict[str, Any]) -> Exception:
        kind = Failure if head["status"] in _BUSY or head["status"] >= 500 else UserError
        return kind(f"{self._server.url} refused frame {number}: {head['error']}")


def _bytes(message: str | bytes) -> bytes:
    return message if isinstance(message, bytes) else message.encode()


def _refusal(server: RemoteServer, refused: InvalidStatus) -> Exception:
    """Why no stream was opened, in words."""
    response = refused.response
    if response.status_code == 401:
        how = "the key is not one of its" if server.key else "it wants a key"
        return UserError(f"{server.url} lets nobody in without a key, and {how}: --api-key-file")
    try:
        why = json.loads(response.body or b"")["error"]
    except (ValueError, KeyError, TypeError):
        why = f"status {response.status_code}, as no roadshift server says it"
    return Failure(f"{server.url} opens no stream: {why}")
