"""The demo page on a socket, for the browsers of this machine or of whoever is let in."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence

import gradio as gr
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from demo.page.api import Api
from demo.page.app import about, build
from demo.page.link_preview import LinkPreview
from demo.page.theme import page_css, theme
from demo.page.visitors import LIMITS, Doors
from serve.http.connection import connections_within
from serve.http.guard import Guard
from serve.http.stream.stream_connection import streams_within

HEAD = '<script type="module" src="roadshift/static/main.js"></script>'


def page_app(api: Api, host: str, port: int, hosts: Sequence[str] = ()) -> ASGIApp:
    """The page and what its scripts ask for, as one ASGI app.

    On a loopback address, and where there are any `hosts`, only these and the loopback's own names
    are answered to: another site's name that resolves to this machine must not reach the page.
    """
    page = build(api.bundle, api.tabs)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, routes=api.routes())
    # Mounted, not launched: launch() asks the network, honours a proxy and can open a tunnel.
    app = gr.mount_gradio_app(
        app, page, path="/", server_name=host, server_port=port, footer_links=[],
        run_history=False, ssr_mode=False, enable_monitoring=False, mcp_server=False, pwa=False,
        show_error=True, css=page_css(), theme=theme(), head=HEAD,
    )  # fmt: skip
    app = Doors(LinkPreview(app, str(page.title), about(api.bundle)))
    return Guard(hosts).before(app, host)


def serve_page(api: Api, listener: socket.socket, hosts: Sequence[str] = ()) -> None:
    """Serves the page on a listening socket until Ctrl-C, which returns."""
    host, port = listener.getsockname()[:2]
    app = page_app(api, host, port, hosts)
    # An open page holds a connection for as long as it is open: one second, then it is cut.
    config = uvicorn.Config(
        app,
        http=connections_within(LIMITS),
        ws=streams_within(LIMITS),
        ws_max_size=LIMITS.frame_bytes,
        ws_per_message_deflate=False,  # pictures are compressed
        log_level="warning",
        timeout_graceful_shutdown=1,
    )
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])
