"""The demo page on a socket, for the browsers of this machine or of whoever is let in."""

from __future__ import annotations

import contextlib
import socket

import gradio as gr
import uvicorn
from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware

from demo.page.theme import PAGE_CSS, theme
from serve.http.listening_socket import LOOPBACK

MAX_UPLOAD = 32 * 2**20


def serve_page(page: gr.Blocks, listener: socket.socket) -> None:
    """Serves the page on a listening socket until Ctrl-C, which returns."""
    host, port = listener.getsockname()[:2]
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    if host in LOOPBACK:
        # Another site's name that resolves to this machine must not reach the page.
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, "[::1]"])
    # Mounted, not launched: launch() asks the network, honours a proxy and can open a tunnel.
    app = gr.mount_gradio_app(
        app, page, path="/", server_name=host, server_port=port, footer_links=[],
        run_history=False, max_file_size=MAX_UPLOAD, ssr_mode=False, enable_monitoring=False,
        mcp_server=False, pwa=False, show_error=True, css=PAGE_CSS, theme=theme(),
    )  # fmt: skip
    # An open page holds a connection for as long as it is open: one second, then it is cut.
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])
