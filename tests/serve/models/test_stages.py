"""Decoding and encoding beside the engine: their line, and the timeout that holds over them."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from serve.http import segment as routes
from serve.limits import Limits
from serve.media.codec import encode_png


class Held:
    """A function that waits inside until it is let go."""

    def __init__(self, call):
        self.call, self.inside, self.gate = call, threading.Semaphore(0), threading.Event()

    def __call__(self, *args):
        self.inside.release()
        assert self.gate.wait(10)
        return self.call(*args)


@pytest.fixture
def held_decoding(monkeypatch):
    held = Held(routes.decode)
    monkeypatch.setattr(routes, "decode", held)
    monkeypatch.setattr("os.cpu_count", lambda: 2)  # of threads that decode
    yield held
    held.gate.set()


def post(client, kit, query=""):
    data = encode_png(kit.random_image(1))
    return client.post(f"/segment{query}", content=data, headers=kit.PNG)


def test_decoding_takes_no_place_at_the_engine(tiny, kit, held_decoding):
    with kit.running(tiny, Limits(waiting=1)) as client, ThreadPoolExecutor(4) as pool:
        decoding = [pool.submit(post, client, kit) for _ in range(3)]
        for _ in range(2):
            assert held_decoding.inside.acquire(timeout=5)
        kit.wait_until(lambda: len(client.server.service._decoders._under_way) == 3)
        assert client.taken == 0
        refused = post(client, kit)
        assert "3 requests are being decoded or waiting for it" in kit.error(refused, 429)
        # Tensors need no decoding to speak of, but the line is the same one.
        held_decoding.gate.set()
        assert {each.result().status_code for each in decoding} <= {200, 429}
        assert post(client, kit).status_code == 200


def test_the_timeout_holds_while_decoding(tiny, kit, held_decoding):
    with kit.running(tiny) as client:
        runs = client.engine.runs
        late = post(client, kit, "?timeout=100000")
        assert "passed while it was decoded: it was not run" in kit.error(late, 504)
        held_decoding.gate.set()
        assert post(client, kit).status_code == 200
        assert client.engine.runs == runs + 1


def test_the_timeout_holds_at_the_engine(tiny, kit):
    with kit.running(tiny) as client:
        client.engine.gate.clear()
        assert "passed while it was run" in kit.error(post(client, kit, "?timeout=200000"), 504)
        client.engine.gate.set()
        assert post(client, kit).status_code == 200


def test_the_timeout_holds_while_encoding(tiny, kit, monkeypatch):
    held = Held(routes.answer)
    monkeypatch.setattr(routes, "answer", held)
    with kit.running(tiny) as client:
        late = post(client, kit, "?timeout=500000")
        assert "passed while the answer was encoded" in kit.error(late, 504)
        held.gate.set()
        assert post(client, kit).status_code == 200


def test_the_timeout_holds_while_the_body_comes_in(tiny, kit):
    stop = threading.Event()

    def body():
        yield b"\x89"
        stop.wait(1)

    with kit.running(tiny) as client:
        late = client.post("/segment?timeout=100000", content=body(), headers=kit.PNG)
        assert "passed while its body came in" in kit.error(late, 504)
        stop.set()
