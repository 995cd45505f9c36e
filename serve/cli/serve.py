"""The command `roadshift serve`."""

from __future__ import annotations

import logging
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from export.bundle import Trust, read_bundle
from roadshift import UserError
from serve.cli.access_options import AccessOptions
from serve.cli.config_file import file_named_by
from serve.cli.device_options import DeviceOptions, Flat
from serve.limits import Limits

if TYPE_CHECKING:
    from export.bundle import Bundle
    from serve.http.app import Beside
    from serve.models.api_keys import ApiKeys
    from serve.runtime.graph import Graph

app = App(name="serve", help="Serve a bundle over HTTP.", config=file_named_by("--config"))


@app.default
def serve(
    bundles: Annotated[tuple[Path, ...], Parameter(negative="")] = (),
    *,
    config: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    grpc_port: int | None = None,
    model_control: Literal["none", "explicit"] = "none",
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
    model_control
        explicit: clients may have the bundles loaded again from their folders, and unloaded.
    """
    from serve.http.app import no_other_face  # noqa: PLC0415
    from serve.http.envelope import log_to_stderr  # noqa: PLC0415
    from serve.http.guard import Guard  # noqa: PLC0415
    from serve.http.listening_socket import listen  # noqa: PLC0415
    from serve.http.server import Server  # noqa: PLC0415 - --help answers without loading these

    if not bundles:
        raise UserError("no bundle is named: roadshift serve BUNDLE, a folder of roadshift export")
    keys = access.keys(host)
    log_to_stderr()
    if config is not None:
        logging.info("options from %s", config)
    read = [read_bundle(bundle, trust) for bundle in bundles]
    graphs = [graph for bundle in read for graph in _graphs_of(bundle, device)]
    again = (partial(_opened, folder, trust, device) for folder in bundles)
    openers = dict(zip((bundle.name for bundle in read), again, strict=True))
    logging.info("a request has at most %d pixels (--pixels)", limits.of(*read).pixels)
    beside = no_other_face if grpc_port is None else _grpc_face(host, grpc_port, keys)
    with listen(host, port) as bound:
        server = Server(
            graphs,
            bound,
            limits,
            guard=Guard(access.allow_host, keys),
            beside=beside,
            openers=openers if model_control == "explicit" else None,
        )
        address = f"[{host}]" if ":" in host else host
        names = ", ".join(bundle.name for bundle in read)
        at = f"http://{address}:{bound.getsockname()[1]}"
        print(f"serving {names} on {at} (Ctrl-C stops)", flush=True)
        server.run()


def _graphs_of(bundle: Bundle, device: DeviceOptions) -> list[Graph]:
    """The bundle's engine, and what else of it draws; says how the labels come about."""
    from serve.runtime.engine import Engine  # noqa: PLC0415
    from serve.runtime.image_graphs import image_graphs_of  # noqa: PLC0415

    engine = Engine(bundle, **asdict(device))
    how = (engine.name, engine.precision, engine.route, engine.why)
    logging.info("%s: %s, labels by the %s route: %s", *how)
    return [
        engine,
        *image_graphs_of(bundle, provider=device.provider, threads=device.threads),
    ]


def _opened(folder: Path, trust: Trust, device: DeviceOptions) -> list[Graph]:
    """The graphs of the bundle that is in the folder now."""
    return _graphs_of(read_bundle(folder, trust), device)


def _grpc_face(host: str, port: int, keys: ApiKeys | None) -> Beside:
    try:
        from serve.grpc.server import grpc_on  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise UserError(f"--grpc-port needs roadshift[grpc]: pip install it ({error})") from error
    if not 0 <= port <= 65535:
        raise UserError(f"--grpc-port is {port}: wanted 0 (any free one) to 65535")
    return grpc_on(host, port, keys=keys)
