"""The command `roadshift serve`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from export.bundle import Trust, read_bundle
from roadshift import UserError
from serve.cli.access_options import AccessOptions
from serve.cli.config_file import file_named_by
from serve.cli.device_options import DeviceOptions, Flat
from serve.cli.served import Served, check_workers, serve_by_workers
from serve.limits import Limits

app = App(name="serve", help="Serve a bundle over HTTP.", config=file_named_by("--config"))


@app.default
def serve(
    bundles: Annotated[tuple[Path, ...], Parameter(negative="")] = (),
    *,
    config: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    grpc_port: int | None = None,
    workers: int = 1,
    model_control: Literal["none", "explicit"] = "none",
    otlp_endpoint: str | None = None,
    trust: Annotated[Trust, Flat] = Trust(),
    device: Annotated[DeviceOptions, Flat] = DeviceOptions(),
    access: Annotated[AccessOptions, Flat] = AccessOptions(),
    limits: Annotated[Limits, Flat] = Limits(),
) -> None:
    """Answer over HTTP (and gRPC): Open Inference Protocol v2, and POST /segment for plain images.

    Parameters
    ----------
    bundles
        Folders made by `roadshift export`; POST /segment asks the first unless told otherwise.
    config
        A TOML file with these options by their names (port = 8000); the command line wins over it.
    host
        The address to listen on; 0.0.0.0 lets other machines in, and wants --api-key-file.
    port
        The port to listen on; 0 takes a free one, which is printed.
    grpc_port
        The port for the protocol over gRPC, which the extra `grpc` has; 0 takes a free one, which
        the log says.
    workers
        Processes that answer on the port, each with the bundles in memory and its part of the
        cores.
    model_control
        explicit: clients may have the bundles loaded again from their folders, and unloaded.
    otlp_endpoint
        A collector's address for OpenTelemetry over HTTP (http://localhost:4318), which gets a
        trace of each request with its stages; the extra `trace` has it.
    """
    from serve.http.envelope import log_to_stderr  # noqa: PLC0415
    from serve.http.listening_socket import listen  # noqa: PLC0415 - --help loads none of these

    if not bundles:
        raise UserError("no bundle is named: roadshift serve BUNDLE, a folder of roadshift export")
    served = Served(
        bundles=bundles,
        host=host,
        grpc_port=grpc_port,
        changes=model_control == "explicit",
        otlp_endpoint=otlp_endpoint,
        trust=trust,
        device=device,
        access=access,
        limits=limits,
    )
    access.keys(host)
    served.face()
    check_workers(workers, served)
    log_to_stderr()
    if config is not None:
        logging.info("options from %s", config)
    read = [read_bundle(bundle, trust) for bundle in bundles]
    logging.info("a request has at most %d pixels (--pixels)", limits.of(*read).pixels)
    graphs = served.graphs(read) if workers == 1 else []
    with listen(host, port) as bound:
        address = f"[{host}]" if ":" in host else host
        names = ", ".join(bundle.name for bundle in read)
        at = f"http://{address}:{bound.getsockname()[1]}"
        by = f" by {workers} processes" if workers > 1 else ""
        server = served.server(read, graphs, bound) if workers == 1 else None
        print(f"serving {names} on {at}{by} (Ctrl-C stops)", flush=True)
        if server is None:
            serve_by_workers(served, bound, workers)
        else:
            server.run()
