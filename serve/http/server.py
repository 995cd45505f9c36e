"""The app on a socket: bound before anything slow, stopped without dropping what is under way."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import uvicorn

from roadshift import Failure
from serve.http.app import build_app
from serve.limits import Limits
from serve.runtime.engine import Engine
from serve.runtime.graph import Graph

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
