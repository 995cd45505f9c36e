"""The demo's listening socket, opened before anything slow is loaded."""

from __future__ import annotations

import socket

from roadshift import UserError

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket; port 0 takes a free one.

    Raises UserError for a port out of range or taken, and for a host that is not this machine's.
    """
    if not 0 <= port <= 65535:
        raise UserError(f"port {port} does not exist: give one from 1 to 65535, or 0 for any free")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UserError(
            f"cannot listen on {host}, port {port} ({error.strerror or error}): "
            "choose another with --port or --host"
        ) from error
