"""What `roadshift serve` was told, and a server of it: in this process, or in each of several."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from export.bundle import Trust, read_bundle
from roadshift import Failure, UserError
from serve.cli.access_options import AccessOptions
from serve.cli.device_options import DeviceOptions
from serve.limits import Limits

if TYPE_CHECKING:
    import socket
    from multiprocessing.connection import Connection

    from export.bundle import Bundle
    from serve.http.app import Beside
    from serve.http.server import Server
    from serve.runtime.graph import Graph
    from serve.tracing import Tracing


@dataclass(frozen=True, kw_only=True)
class Served:
    """The command's options but its port."""

    bundles: tuple[Path, ...]
    host: str
    grpc_port: int | None
    changes: bool
    """Whether clients may load bundles again."""
    otlp_endpoint: str | None
    trust: Trust
    device: DeviceOptions
    access: AccessOptions
    limits: Limits

    def graphs(self, read: Sequence[Bundle]) -> list[Graph]:
        """All that the bundles have, opened."""
        return [graph for bundle in read for graph in self._graphs_of(bundle)]

    def server(
        self,
        read: Sequence[Bundle],
        graphs: list[Graph],
        bound: socket.socket,
        beside: Beside | None = None,
    ) -> Server:
        """The server of that; `beside` in place of `face()`."""
        from serve.http.guard import Guard  # noqa: PLC0415 - --help answers without loading these
        from serve.http.server import Server  # noqa: PLC0415

        guard = Guard(self.access.allow_host, self.access.keys(self.host))
        before, beside = guard.before, beside or self.face()
        if tracing := self._tracing():
            before, beside = tracing.around(before), tracing.beside(beside)
        again = (partial(self._opened, folder) for folder in self.bundles)
        openers = dict(zip((bundle.name for bundle in read), again, strict=True))
        return Server(
            graphs,
            bound,
            self.limits,
            before=before,
            beside=beside,
            openers=openers if self.changes else None,
        )

    def face(self, *, shared: bool = False) -> Beside:
        """The transport beside HTTP, if there is one; `shared`: other processes have its port."""
        from serve.http.app import no_other_face  # noqa: PLC0415

        tracing = self._tracing()
        if self.grpc_port is None:
            return no_other_face
        try:
            from serve.grpc.server import grpc_on  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise UserError(
                f"--grpc-port needs roadshift[grpc]: pip install it ({error})"
            ) from error
        if not 0 <= self.grpc_port <= 65535:
            raise UserError(f"--grpc-port is {self.grpc_port}: wanted 0 (any free one) to 65535")
        keys = self.access.keys(self.host)
        inner = [tracing.interceptor()] if tracing else []
        return grpc_on(self.host, self.grpc_port, keys=keys, shared=shared, inner=inner)

    def _tracing(self) -> Tracing | None:
        """What sends traces, where they are asked for."""
        if self.otlp_endpoint is None:
            return None
        try:
            from serve.tracing import tracing_to  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise UserError(
                f"--otlp-endpoint needs roadshift[trace]: pip install it ({error})"
            ) from error
        return tracing_to(self.otlp_endpoint)

    def part_of(self, workers: int) -> Served:
        """The same with a part of the cores, where the threads were not given."""
        threads = self.device.threads or max(1, (os.cpu_count() or 1) // workers)
        return replace(self, device=replace(self.device, threads=threads))

    def _graphs_of(self, bundle: Bundle) -> list[Graph]:
        """The bundle's engine, and what else of it draws; says how the labels come about."""
        from serve.runtime.engine import Engine  # noqa: PLC0415
        from serve.runtime.image_graphs import image_graphs_of  # noqa: PLC0415

        device = self.device
        engine = Engine(bundle, **asdict(device))
        how = (engine.name, engine.precision, engine.route, engine.why)
        logging.info("%s: %s, labels by the %s route: %s", *how)
        others = image_graphs_of(bundle, provider=device.provider, threads=device.threads)
        return [engine, *others]

    def _opened(self, folder: Path) -> list[Graph]:
        """The graphs of the bundle that is in the folder now."""
        return self._graphs_of(read_bundle(folder, self.trust))


@dataclass(frozen=True, kw_only=True)
class Worker:
    """What each of `count` processes does: a call of it is its life."""

    served: Served
    count: int
    folder: Path
    """For the sockets on which workers tell each other their figures."""

    def __call__(
        self, number: int, bound: socket.socket, connection: Connection, again: bool
    ) -> None:
        """Serves until it is told to stop; see serve.processes.supervisor.Work."""
        from serve.http.envelope import log_to_stderr  # noqa: PLC0415
        from serve.processes.siblings import told_to_siblings  # noqa: PLC0415
        from serve.processes.worker import Line  # noqa: PLC0415

        log_to_stderr()
        line = Line(connection)
        try:
            read = [read_bundle(folder, self.served.trust) for folder in self.served.bundles]
            face = self.served.face(shared=True)
            server = self.served.server(
                read,
                self.served.graphs(read),
                bound,
                beside=told_to_siblings(face, self.folder, number, self.count),
            )
            server.service.readiness.others_ready = line.all_ready
            server.service.readiness.late = again
            line.watch(server.stop)
            server.run()
        except Exception as error:
            if not isinstance(error, UserError | Failure):
                logging.exception("worker %d failed", number)
            line.never_ready(str(error) or type(error).__name__)


def check_workers(workers: int, served: Served) -> None:
    """Raises UserError for a number of workers that cannot be."""
    if workers < 1:
        raise UserError(f"--workers is {workers}: wanted at least 1")
    if workers > 1 and served.changes:
        raise UserError(
            f"--workers {workers} and --model-control explicit exclude each other: one of them "
            "alone would load the bundle again. Restart the server for a new version"
        )


def serve_by_workers(served: Served, bound: socket.socket, workers: int) -> None:
    """Until a signal ends it. Failure when a worker never becomes ready."""
    from serve.http.listening_socket import shared_port  # noqa: PLC0415
    from serve.processes.supervisor import Supervisor  # noqa: PLC0415

    with ExitStack() as kept:
        folder = Path(kept.enter_context(tempfile.TemporaryDirectory(prefix="roadshift-")))
        if served.grpc_port is not None:
            held = kept.enter_context(shared_port(served.host, served.grpc_port))
            served = replace(served, grpc_port=held.getsockname()[1])
        work = Worker(served=served.part_of(workers), count=workers, folder=folder)
        Supervisor(work, bound, workers, served.limits.grace_seconds).run()
