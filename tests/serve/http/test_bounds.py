"""What a request may ask for, on a real server with narrow limits."""

import gzip
import socket
import time

import numpy as np
import pytest

from serve.limits import Limits
from serve.media.codec import encode_png


@pytest.fixture(scope="module")
def tight(tiny, kit):
    limits = Limits(body_bytes=20_000, pixels=4000, body_seconds=1, json_values=100, waiting=1)
    with kit.running(tiny, limits) as client:
        yield client


def test_announced_size(tight, kit):
    message = kit.error(tight.post("/segment", content=bytes(30_000), headers=kit.PNG), 413)
    assert "larger than 20000 bytes" in message
    kit.small(tight)


def test_a_client_that_sends_everything_first_still_reads_why(tight):
    host, port = tight.address.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as plug:
        head = "POST /segment HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
        body = bytes(16 << 20)  # more than the buffers between the two hold
        plug.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert plug.recv(4096).startswith(b"HTTP/1.1 413")


def test_streamed_size(tight, kit):
    pieces = (bytes(1000) for _ in range(30))
    assert kit.error(tight.post("/segment", content=pieces, headers=kit.PNG), 413)
    kit.small(tight)


def test_a_client_that_asks_first_is_refused_without_its_body(tight):
    host, port = tight.address.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as plug:
        head = "POST /segment HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
        plug.sendall(f"{head}Content-Length: 9999999\r\nExpect: 100-continue\r\n\r\n".encode())
        assert plug.recv(4096).startswith(b"HTTP/1.1 413")


def test_a_gzip_bomb(tight, kit):
    bomb = gzip.compress(bytes(10_000_000))
    assert len(bomb) < 20_000
    headers = {**kit.PNG, "Content-Encoding": "gzip"}
    message = kit.error(tight.post("/segment", content=bomb, headers=headers), 413)
    assert "decompresses to more than 20000 bytes" in message
    headers["Content-Encoding"] = "br"
    assert "'br' is not read" in kit.error(
        tight.post("/segment", content=b"", headers=headers), 415
    )


def test_a_slow_body(tight, kit):
    def slow():
        yield b"x"
        time.sleep(1.3)
        yield b"y"

    assert "within 1 s" in kit.error(tight.post("/segment", content=slow(), headers=kit.PNG), 408)
    kit.small(tight)


def test_pixels(tight, kit):
    image = np.zeros((80, 51), np.uint8)
    message = kit.error(tight.post("/segment", content=encode_png(image), headers=kit.PNG), 413)
    assert "4080 pixels; at most 4000" in message
    images = np.zeros((3, 30, 50, 3), np.uint8)
    assert "4500 pixels together" in kit.error(tight.post(kit.INFER, **kit.binary(images)), 413)


def test_json_values(tight, kit):
    ask = kit.binary(np.zeros((1, 10, 11, 3), np.uint8))
    assert "110 numbers as JSON; at most 100" in kit.error(tight.post(kit.INFER, **ask), 400)
