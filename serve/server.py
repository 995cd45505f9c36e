"""The app on a socket: bound before anything slow, stopped without dropping what is under way."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import uvicorn

from roadshift import Failure, UserError
from serve.app import build_app
from serve.engine import Engine
from serve.graph import Graph
from serve.limits import Limits

GRACE_SECONDS = 30
"""How long requests under way may take after the signal to stop."""


class Server:
    """A uvicorn server for a bundle's graphs, on a socket that is already bound."""

    def __init__(
        self,
        engine: Engine,
        bound: socket.socket,
        limits: Limits,
        drawings: Sequence[Graph] = (),
    ) -> None:
        self.bound = bound
        self.failure: Exception | None = None
        self.uvicorn = uvicorn.Server(
            uvicorn.Config(
                build_app(engine, drawings, limits=limits, on_failure=self._stop),
                log_level="warning",
                server_header=False,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )

    def run(self) -> None:
        """Answers until it is told to stop; Failure when the golden frames are not reproduced."""
        self.uvicorn.run(sockets=[self.bound])
        if self.failure is not None:
            raise Failure(f"the server did not become ready: {self.failure}") from self.failure

    def _stop(self, failure: Exception) -> None:
        # A server that can never be ready must not hang about: whoever started it should see.
        self.failure = failure
        self.uvicorn.should_exit = True


def bind(host: str, port: int) -> socket.socket:
    """A socket listening there; UserError when the address is wrong or taken."""
    if not 0 <= port <= 65535:  # getaddrinfo takes it modulo 65536
        raise UserError(f"cannot listen on port {port}: wanted 0 (any free one) to 65535")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # The protocol is named because asyncio sends without delay (TCP_NODELAY) only then; else
        # every answer waits 40 ms for the client's acknowledgement of its headers.
        bound = socket.socket(family, kind, socket.IPPROTO_TCP)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            bound.listen(2048)
        except OSError:
            bound.close()
            raise
        return bound
    except OSError as error:
        raise UserError(
            f"cannot listen on {host}:{port} ({error}): choose another --port or --host"
        ) from error


def run_server(
    engine: Engine, drawings: Sequence[Graph], host: str, port: int, limits: Limits
) -> None:
    """Serves them on that address until SIGINT or SIGTERM."""
    with bind(host, port) as bound:
        Server(engine, bound, limits, drawings).run()
