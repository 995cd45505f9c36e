"""The demo command."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from export.bundle import RECONSTRUCTOR, Bundle, Trust, read_bundle
from export.bundle.graphs import Precision
from roadshift import UserError
from serve.http.listening_socket import LOOPBACK, listen
from serve.runtime.engine import Engine
from serve.runtime.image_graphs import image_graph_of

if TYPE_CHECKING:
    import httpx

    from demo.page.remote_model import RemoteModel


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """A running `roadshift serve` that segments in place of this process."""

    server: str | None = None
    """The address of a running `roadshift serve`, http(s)://HOST:PORT: pictures are sent there in
    place of an engine here. The bundles give the classes, examples, report and reconstructor."""
    model: tuple[str, ...] = ()
    """The server's names for the bundles, in their order; by default the bundles' own."""
    server_key_file: Path | None = None
    """A file with the key that the server asks for, as its --api-key-file has it."""

    def client(self) -> AbstractContextManager[httpx.Client | None]:
        """A client of the server, or None where there is none; UserError for a wrong address."""
        if self.server is None:
            if self.model or self.server_key_file:
                raise UserError("--model and --server-key-file go with --server: name that too")
            return nullcontext()
        from demo.page.remote_model import connect  # noqa: PLC0415 - httpx is the extra's

        return connect(self.server, self.server_key_file)


def demo(
    bundle: Path,
    bundle2: Path | None = None,
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    allow_host: tuple[str, ...] = (),
    precision: Precision = "fp32",
    trust: Annotated[Trust, Parameter(name="*")] = Trust(),
    remote: Annotated[ServerOptions, Parameter(name="*")] = ServerOptions(),
) -> None:
    """Show a bundle in the browser: choose a street picture, see its classes and how sure they are.

    Of a bundle with a reconstructor, see the picture redrawn from its labels, and redraw it from
    labels that you change. With a second bundle, see what the two make of the same picture.

    Parameters
    ----------
    bundle
        A folder made by `roadshift export`.
    bundle2
        Another one of the same classes, to compare with: that of source-only training, say.
    host
        Address to listen on. The default is this machine only; the page has no login.
    port
        Port to listen on; 0 takes any free one.
    allow_host
        A name (a Host header) that is answered to beside localhost, as a proxy may send; with it
        no other is, on any address.
    precision
        Which of the bundle's segmentors to show; with a server that is the server's choice.
    """
    opened = [read_bundle(bundle, trust)]
    if bundle2 is not None:
        # The digest is that of one bundle, the first.
        opened.append(read_bundle(bundle2, replace(trust, digest=None)))
        _check_classes(*opened)
    with listen(host, port) as listener, _scratch() as scratch, remote.client() as client:
        # Read at import: neither library reports its use, and uploads go where they are deleted.
        os.environ.update(
            GRADIO_ANALYTICS_ENABLED="False", GRADIO_TEMP_DIR=scratch, ORT_DISABLE_TELEMETRY="1"
        )
        from demo.page.api import Api, ShownModel  # noqa: PLC0415 - after the settings above
        from demo.page.serve_page import serve_page  # noqa: PLC0415 - as above

        engines: Sequence[Engine | RemoteModel]
        if client is None:
            engines = [Engine(one, precision=precision) for one in opened]
        else:
            engines = _served(opened, client, remote.model, precision)
        reconstructor = image_graph_of(opened[0], RECONSTRUCTOR)
        for graph in (*engines, *([reconstructor] if reconstructor else [])):
            print(f"{graph.bundle.name}: {graph.golden_text.format(graph.check_golden())}.")
        names = zip(engines, titles(opened), strict=True)
        api = Api([ShownModel(engine, title) for engine, title in names], reconstructor)
        address = f"[{host}]" if ":" in host else host
        print(f"Demo on http://{address}:{listener.getsockname()[1]}/ (Ctrl-C ends it)", flush=True)
        if host not in LOOPBACK:
            print("Everyone who reaches this address can use the page: it has no login.")
        serve_page(api, listener, allow_host)


def titles(bundles: Sequence[Bundle]) -> list[str]:
    """What to call each of the bundles on one page: by method, or name, whichever differs."""
    names = [one.name for one in bundles]
    methods = [str(one.provenance.get("method")) for one in bundles]
    for found in (methods, names):
        if len(set(found)) == len(bundles):
            return found
    return [f"{one.name} {number}" for number, one in enumerate(bundles, 1)]


def _served(
    bundles: Sequence[Bundle], client: httpx.Client, names: Sequence[str], precision: str
) -> list[RemoteModel]:
    """What the server has of these bundles, by its names for them."""
    from demo.page.remote_model import RemoteModel  # noqa: PLC0415 - as in ServerOptions

    if precision != "fp32":
        raise UserError(f"--precision {precision} is for the server to say: leave it out here")
    if len(names) > len(bundles):
        raise UserError(f"--model names {len(names)} models for {len(bundles)} bundle(s)")
    named = [*names, *(one.name for one in bundles[len(names) :])]
    return [RemoteModel(one, client, name) for one, name in zip(bundles, named, strict=True)]


def _check_classes(first: Bundle, second: Bundle) -> None:
    if first.classes != second.classes:
        others = set(first.classes) ^ set(second.classes)
        what = f"differ in {', '.join(sorted(others))}" if others else "have them in another order"
        raise UserError(
            f"the bundles {first.folder} and {second.folder} do not name the same classes (they "
            f"{what}): two that were trained for the same classes are wanted"
        )


def _scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder for uploads that is deleted at the end, also when the process is asked to stop."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    return tempfile.TemporaryDirectory(prefix="roadshift-demo-")
