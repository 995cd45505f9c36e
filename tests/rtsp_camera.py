"""A camera on the network for tests: RTSP, and its video as an MPEG transport stream in RTP."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

PACKET = 188
SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 33\r\na=control:track\r\n"
)


@contextmanager
def camera(stream: Path, seconds: float, password: str = "") -> Generator[str]:
    """rtsp://… of that .ts file, sent within so many seconds to the first who asks.

    With a password it refuses whoever does not send one.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        arguments = (listening, stream.read_bytes(), seconds, bool(password))
        thread = threading.Thread(target=_serve, args=arguments, daemon=True)
        thread.start()
        user = f"driver:{password}@" if password else ""
        yield f"rtsp://{user}127.0.0.1:{listening.getsockname()[1]}/front.ts?token=secret"


def _serve(listening: socket.socket, stream: bytes, seconds: float, wants_password: bool) -> None:
    connection, _ = listening.accept()
    # Whoever asks may leave in the middle.
    with suppress(ConnectionError), connection, connection.makefile("rb") as lines:
        while head := list(iter(lambda: lines.readline().decode().strip(), "")):
            method, sequence = head[0].split()[0], _field(head, "CSeq")
            if wants_password and not _field(head, "Authorization"):
                asked = 'WWW-Authenticate: Basic realm="camera"\r\n'
                connection.sendall(_answer(sequence, asked, status="401 Unauthorized"))
                continue
            more, body = "Session: 1\r\n", ""
            if method == "DESCRIBE":
                more, body = "Content-Type: application/sdp\r\n", SDP
            if method == "SETUP":
                more += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
            connection.sendall(_answer(sequence, more, body))
            if method == "PLAY":
                _play(connection, stream, seconds)
                return


def _play(connection: socket.socket, stream: bytes, seconds: float) -> None:
    parts = [stream[at : at + 7 * PACKET] for at in range(0, len(stream), 7 * PACKET)]
    for number, part in enumerate(parts):
        clock = int(90_000 * seconds * number / len(parts))
        packet = struct.pack(">BBHII", 0x80, 33, number & 0xFFFF, clock, 7) + part
        connection.sendall(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
        time.sleep(seconds / len(parts))


def _field(head: list[str], name: str) -> str:
    return next((line.split(": ", 1)[1] for line in head if line.startswith(f"{name}: ")), "")


def _answer(sequence: str, more: str, body: str = "", status: str = "200 OK") -> bytes:
    size = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"RTSP/1.0 {status}\r\nCSeq: {sequence}\r\n{more}{size}\r\n{body}".encode()
