"""The demo command."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from export.bundle import RECONSTRUCTOR, Trust, read_bundle
from export.bundle.graphs import Precision
from serve.http.listening_socket import LOOPBACK, listen
from serve.runtime.engine import Engine
from serve.runtime.image_graphs import image_graph_of


def demo(
    bundle: Path,
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    precision: Precision = "fp32",
    trust: Annotated[Trust, Parameter(name="*")] = Trust(),
) -> None:
    """Show a bundle in the browser: upload a street image, see its classes.

    Of a bundle with a reconstructor, see the image redrawn from them too.

    Parameters
    ----------
    bundle
        A folder made by `roadshift export`.
    host
        Address to listen on. The default is this machine only; the page has no login.
    port
        Port to listen on; 0 takes any free one.
    precision
        Which of the bundle's segmentors to show.
    """
    opened = read_bundle(bundle, trust)
    with listen(host, port) as listener, _scratch() as scratch:
        # Read at import: neither library reports its use, and uploads go where they are deleted.
        os.environ.update(
            GRADIO_ANALYTICS_ENABLED="False", GRADIO_TEMP_DIR=scratch, ORT_DISABLE_TELEMETRY="1"
        )
        from demo.page.api import Api, ShownModel  # noqa: PLC0415 - after the settings above
        from demo.page.serve_page import serve_page  # noqa: PLC0415 - as above

        engine = Engine(opened, precision=precision)
        reconstructor = image_graph_of(opened, RECONSTRUCTOR)
        for graph in (engine, reconstructor):
            if graph is not None:
                print(f"{graph.golden_text.format(graph.check_golden())}.")
        api = Api([ShownModel(engine, opened.name)])
        address = f"[{host}]" if ":" in host else host
        print(f"Demo on http://{address}:{listener.getsockname()[1]}/ (Ctrl-C ends it)", flush=True)
        if host not in LOOPBACK:
            print("Everyone who reaches this address can use the page: it has no login.")
        serve_page(api, listener)


def _scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder for uploads that is deleted at the end, also when the process is asked to stop."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    return tempfile.TemporaryDirectory(prefix="roadshift-demo-")
