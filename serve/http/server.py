"""The app on a socket: bound before anything slow, stopped without dropping what is under way."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace

import anyio
import uvicorn

from roadshift import Failure, UserError
from serve.http.app import Beside, build_app, no_other_face
from serve.http.connection import connections_within
from serve.http.envelope import Envelope
from serve.http.guard import OPEN, Before
from serve.http.stream.stream_connection import streams_within
from serve.limits import Limits
from serve.models.repository import Opener
from serve.models.service import Service
from serve.runtime.graph import Graph

_BACKLOG = 128
_OTHER_FILES = 64
"""Descriptors for all that is not a connection."""
_LAST_WORD_SECONDS = 1.0


class Server:
    """A uvicorn server for bundles' graphs, on a socket that is already bound.

    `before` guards the routes (serve.http.guard); unless told otherwise, on a loopback address only
    the loopback's own names are answered to. `beside` is another transport for the same models.
    `openers` are those of bundles that clients may load again (see serve.models.repository).
    Raises UserError when the process may open too few files.
    """

    def __init__(
        self,
        graphs: Sequence[Graph],
        bound: socket.socket,
        limits: Limits,
        *,
        before: Before = OPEN.before,
        beside: Beside = no_other_face,
        openers: Mapping[str, Opener] | None = None,
    ) -> None:
        self.bound = bound
        self.failure: Exception | None = None
        limits = replace(limits, connections=_affordable(limits.connections))
        self.service = Service(graphs, limits, openers)
        metrics = self.service.metrics
        app = build_app(self.service, beside=beside, on_failure=self._stop)
        guarded = before(app, bound.getsockname()[0])
        count = lambda route, status: metrics.requests.labels(route, str(status)).inc()  # noqa: E731
        self.uvicorn = _Uvicorn(
            self.service,
            uvicorn.Config(
                Envelope(guarded, count),
                http=connections_within(limits),
                ws=streams_within(limits),
                ws_max_size=limits.frame_bytes,
                ws_per_message_deflate=False,  # images are compressed
                log_config=None,
                access_log=False,
                server_header=False,
                backlog=_BACKLOG,
                timeout_graceful_shutdown=limits.grace_seconds,
            ),
        )
        metrics.gauge(
            "roadshift_connections",
            "Open connections",
            lambda: len(self.uvicorn.server_state.connections),
        )

    def run(self) -> None:
        """Answers until it is told to stop; Failure when the golden frames are not reproduced."""
        self.uvicorn.run(sockets=[self.bound])
        if self.failure is not None:
            if isinstance(self.failure, UserError):
                raise self.failure
            raise Failure(f"the server did not become ready: {self.failure}") from self.failure

    def stop(self) -> None:
        """As a signal does."""
        self.uvicorn.should_exit = True

    def _stop(self, failure: Exception) -> None:
        # A server that can never be ready must not hang about: whoever started it should see.
        self.failure = failure
        self.stop()


class _Uvicorn(uvicorn.Server):
    """uvicorn, which says that it is not ready once it has been told to stop."""

    def __init__(self, service: Service, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.readiness.stop()
        await super().shutdown(sockets)
        with anyio.move_on_after(_LAST_WORD_SECONDS):
            while self.server_state.tasks:  # what was cut off tells its client so
                await asyncio.sleep(0.01)
        for connection in list(self.server_state.connections):
            connection.transport.close()  # now, and not when the process ends
        await asyncio.sleep(0)


def _affordable(connections: int) -> int:
    """So many connections, or as many as the process may open; its soft limit is raised."""
    wanted = connections + _BACKLOG + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        connections = soft - _BACKLOG - _OTHER_FILES
    if connections < 1:
        raise UserError(
            f"this process may open {hard} files, and the server needs "
            f"{_BACKLOG + _OTHER_FILES + 1} or more: raise its limit (ulimit -Hn)"
        )
    return connections
