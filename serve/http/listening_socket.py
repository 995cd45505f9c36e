"""The listening socket of a server or a page, opened before anything slow is loaded."""

from __future__ import annotations

import socket

from roadshift import UserError

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket; port 0 takes a free one.

    Raises UserError for a port out of range or taken, and for a host that is not this machine's.
    """
    if not 0 <= port <= 65535:  # getaddrinfo takes it modulo 65536
        raise UserError(f"cannot listen on port {port}: wanted 0 (any free one) to 65535")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # The protocol is named because asyncio sends without delay (TCP_NODELAY) only then; else
        # every answer waits 40 ms for the client's acknowledgement of its headers.
        bound = socket.socket(family, kind, socket.IPPROTO_TCP)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            bound.listen(2048)
        except OSError:
            bound.close()
            raise
        return bound
    except OSError as error:
        raise UserError(
            f"cannot listen on {host}:{port} ({error}): choose another --port or --host"
        ) from error


def shared_port(host: str, port: int) -> socket.socket:
    """A socket that keeps a port for processes that all listen there; it does not listen itself.

    Raises UserError where it cannot.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        held = socket.socket(family, kind)
        try:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.bind(address)
        except OSError:
            held.close()
            raise
        return held
    except OSError as error:
        raise UserError(
            f"cannot listen for gRPC on {host}:{port} ({error}): choose another --grpc-port or "
            "--host"
        ) from error
