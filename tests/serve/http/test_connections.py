"""Clients that are slow, silent, many, or gone, as raw sockets against a real server."""

import asyncio
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import SimpleNamespace

import httpx
import pytest

from serve.http.body import read_body
from serve.http.connection import Complaints
from serve.limits import Limits, Refusal
from serve.media.codec import encode_png
from serve.models.byte_budget import ByteBudget, Share

HEAD = "POST /segment HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"


def dial(client, of="127.0.0.1"):
    host, port = client.address.split(":")
    return socket.create_connection((host, int(port)), timeout=10, source_address=(of, 0))


def test_slow_bodies_hold_no_place(tiny, kit):
    """Nine clients that send a byte now and then, and all others are answered meanwhile."""
    with kit.running(tiny) as client, ExitStack() as stack:
        for _ in range(9):
            plug = stack.enter_context(dial(client))
            plug.sendall(f"{HEAD}Content-Length: 1000\r\n\r\n\x89".encode("latin-1"))
        kit.wait_until(lambda: client.server.service.bodies.used == 9)
        for _ in range(3):
            kit.small(client)
    assert client.server.service.bodies.used == 0


def test_a_body_slower_than_the_least_rate(tiny, kit, monkeypatch):
    monkeypatch.setattr("serve.http.body._START_SECONDS", 0.2)
    with kit.running(tiny, Limits(body_rate=1000)) as client, dial(client) as plug:
        plug.sendall(f"{HEAD}Content-Length: 100000\r\n\r\n".encode())
        with pytest.raises(OSError):  # it is refused long before the 60 s that bodies may take
            for _ in range(1000):
                plug.sendall(b"x")
                time.sleep(0.02)
                if answer := _waiting(plug):
                    break
            assert answer.startswith(b"HTTP/1.1 408")
            assert b"at 1000 bytes a second or more" in answer
            raise OSError
        kit.small(client)


def test_a_chunk_in_the_moment_of_its_deadline_makes_no_whole_body(monkeypatch):
    """The deadline passes and the chunk comes in one turn of the loop, which is late."""
    monkeypatch.setattr("serve.http.body._START_SECONDS", 0.2)

    async def read():
        loop = asyncio.get_running_loop()
        comes = loop.create_future()
        loop.call_later(0.1, time.sleep, 0.3)
        loop.call_later(0.15, comes.set_result, b"x" * 1000)

        async def stream():
            yield b"x"
            yield await comes
            await asyncio.sleep(5)

        request = SimpleNamespace(headers={}, stream=stream)
        with Share(ByteBudget(10_000)) as share:
            await read_body(request, Limits(body_rate=100), share)

    with pytest.raises(Refusal, match="did not arrive within") as refused:
        asyncio.run(read())
    assert refused.value.status == 408


def _waiting(plug):
    plug.setblocking(False)
    try:
        return plug.recv(4096)
    except BlockingIOError:
        return b""
    finally:
        plug.settimeout(10)


def test_bodies_together_have_a_budget(tiny, kit):
    with kit.running(tiny, Limits(all_bodies_bytes=10_000)) as client, dial(client) as plug:
        plug.sendall(f"{HEAD}Content-Length: 9000\r\n\r\n".encode() + bytes(4000))
        kit.wait_until(lambda: client.server.service.bodies.used == 4000)
        refused = client.post("/segment", content=bytes(7000), headers=kit.PNG)
        assert "hold too many bytes: try again later" in kit.error(refused, 429)
        assert refused.headers["retry-after"] == "1"
        kit.small(client)
        plug.close()
        kit.wait_until(lambda: client.server.service.bodies.used == 0)
        cancelled = client.server.service.segmentor.metrics.tallies.cancel
        kit.wait_until(lambda: cancelled.count == 1)


def test_a_large_body_that_does_not_end_makes_room(tiny, kit):
    """Or a few of them shut out everybody for as long as a body may take."""
    with kit.running(tiny, Limits(all_bodies_bytes=10_000)) as client, dial(client) as plug:
        plug.sendall(f"{HEAD}Content-Length: 9500\r\n\r\n".encode() + bytes(9000))
        kit.wait_until(lambda: client.server.service.bodies.used == 9000)
        data = encode_png(kit.random_image(1, 30, 30))
        assert 1000 < len(data) < 9000
        answer = client.post("/segment", content=data, headers=kit.PNG)
        assert answer.status_code == 200
        assert _answer(plug).startswith(b"HTTP/1.1 429")
        kit.wait_until(lambda: client.server.service.bodies.used == 0)


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: local"])
def test_headers_that_do_not_come(tiny, kit, sent):
    with kit.running(tiny, Limits(header_seconds=0.2)) as client, dial(client) as plug:
        plug.sendall(sent)
        assert _ends(plug)
        kit.small(client)


def test_a_second_request_that_does_not_come(tiny, kit):
    """One byte of it would otherwise switch off the time for idle connections."""
    with kit.running(tiny, Limits(header_seconds=0.2)) as client, dial(client) as plug:
        plug.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert _answer(plug).startswith(b"HTTP/1.1 200")
        plug.sendall(b"G")
        assert _ends(plug)


def _answer(plug):
    """An answer with a JSON body, whole."""
    answer = b""
    while not answer.endswith(b"}"):
        got = plug.recv(4096)
        assert got, answer
        answer += got
    return answer


def _ends(plug):
    """Whether the other side ends the connection; TimeoutError otherwise."""
    try:
        return plug.recv(4096) == b""
    except ConnectionResetError:
        return True


def test_idle_connections_make_room(tiny, kit):
    with (
        kit.running(tiny, Limits(connections=4, header_seconds=60)) as client,
        ExitStack() as stack,
    ):
        idle = [stack.enter_context(dial(client)) for _ in range(10)]
        assert all(_ends(plug) for plug in idle[:6])
        kit.small(client)


def test_when_all_are_at_work_a_new_connection_is_refused(tiny, kit):
    limits = Limits(connections=2)
    with kit.running(tiny, limits) as client, dial(client) as first, dial(client) as second:
        for plug in (first, second):
            plug.sendall(f"{HEAD}Content-Length: 1000\r\n\r\n\x89".encode("latin-1"))
        kit.wait_until(lambda: client.server.service.bodies.used == 2)
        with dial(client) as third:
            answer = _answer(third)
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"Retry-After: 1\r\n" in answer
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"].startswith("too many conn")
        first.close()
        kit.wait_until(lambda: client.server.service.bodies.used == 1)
        kit.small(client)


def test_one_address_leaves_room_for_others(tiny, kit):
    """Its own idle connections make room for it; when all are at work, it gets no more."""
    with (
        kit.running(tiny, Limits(address_connections=3, header_seconds=60)) as client,
        ExitStack() as stack,
    ):
        near = lambda: stack.enter_context(dial(client, "127.0.0.2"))  # noqa: E731
        idle = [near() for _ in range(5)]
        assert all(_ends(plug) for plug in idle[:2])
        for i, plug in enumerate(idle[2:], 1):
            plug.sendall(f"{HEAD}Content-Length: 1000\r\n\r\n\x89".encode("latin-1"))
            kit.wait_until(lambda i=i: client.server.service.bodies.used == i)
        assert _answer(near()).startswith(b"HTTP/1.1 503")
        kit.small(client)


def test_200_idle_connections(tiny, kit):
    with kit.running(tiny) as client, ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(dial(client))
        for _ in range(3):  # each anew: of those that idle the oldest are closed
            assert httpx.get(f"http://{client.address}/v2/health/live").status_code == 200
        most = Limits().address_connections
        assert len(client.server.uvicorn.server_state.connections) <= most


def test_a_refused_body_is_not_read_for_ever(tiny, kit, monkeypatch):
    monkeypatch.setattr("serve.http.connection.LINGER_BYTES", 8 << 20)
    with kit.running(tiny, Limits(body_bytes=20_000)) as client, dial(client) as plug:
        plug.sendall(f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
        sent = 0
        with pytest.raises(OSError):
            while sent < 64 << 20:
                plug.sendall(chunk)
                sent += 65536
        assert 8 << 20 <= sent < 64 << 20


def test_who_sends_all_and_leaves_is_told_why_it_was_refused(tiny, kit):
    with kit.running(tiny, Limits(body_bytes=20_000)) as client:
        for _ in range(5):
            with dial(client) as plug:
                head = f"{HEAD}Connection: close\r\nContent-Length: {8 << 20}\r\n\r\n"
                plug.sendall(head.encode() + bytes(8 << 20))
                assert _answer(plug).startswith(b"HTTP/1.1 413")


def test_a_refused_body_that_stops_is_not_waited_for(tiny, kit, monkeypatch):
    monkeypatch.setattr("serve.http.connection.LINGER_SECONDS", 0.2)
    with kit.running(tiny, Limits(body_bytes=20_000)) as client, dial(client) as plug:
        plug.sendall(f"{HEAD}Content-Length: 30000\r\n\r\n".encode())
        assert _answer(plug).startswith(b"HTTP/1.1 413")
        assert _ends(plug)


def test_a_connection_goes_on_after_a_refused_body(tiny, kit):
    with kit.running(tiny, Limits(body_bytes=20_000)) as client, dial(client) as plug:
        plug.sendall(f"{HEAD}Content-Length: 30000\r\n\r\n".encode() + bytes(30000))
        assert _answer(plug).startswith(b"HTTP/1.1 413")
        plug.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert _answer(plug).startswith(b"HTTP/1.1 200")


def test_an_answer_that_is_not_read(tiny, kit):
    with kit.running(tiny, Limits(answer_seconds=0.2)) as client, dial(client) as plug:
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        image = kit.random_image(1, 2000, 2000)
        ask = kit.binary(image[None])
        head = (
            f"POST {kit.INFER} HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
            f"{len(ask['content'])}\r\nInference-Header-Content-Length: "
            f"{ask['headers']['Inference-Header-Content-Length']}\r\n\r\n"
        )
        plug.sendall(head.encode() + ask["content"])
        kit.wait_until(lambda: len(client.server.uvicorn.server_state.connections) == 2)
        kit.wait_until(lambda: len(client.server.uvicorn.server_state.connections) == 1)


def test_what_outlasts_the_grace_period_is_told_so(tiny, kit, caplog):
    with kit.running(tiny, Limits(grace_seconds=1)) as client, ThreadPoolExecutor(2) as pool:
        client.engine.gate.clear()
        client.engine.entered.clear()
        runs = client.engine.runs
        image = kit.binary(kit.random_image(1)[None])
        running = pool.submit(client.post, kit.INFER, **image)
        assert client.engine.entered.wait(5)
        waiting = pool.submit(client.post, kit.INFER, **image)
        kit.wait_until(lambda: client.taken == 2)
        client.server.uvicorn.should_exit = True
        for each in (running, waiting):
            response = each.result()
            assert kit.error(response, 503).startswith("the server stops")
            assert response.headers["retry-after"] == "1"
        client.engine.gate.set()
    assert "Traceback" not in caplog.text
    assert client.engine.runs == runs + 1  # the one that was held, and not the one that waited


def test_the_event_loop_complains_once(caplog):
    loop = _Clock()
    complaints = Complaints()
    for _ in range(100):
        complaints(loop, {"message": "out of resources", "exception": OSError(24, "EMFILE")})
    assert loop.said == 1
    loop.seconds = 11.0
    complaints(loop, {"message": "out of resources", "exception": OSError(24, "EMFILE")})
    complaints(loop, {"message": "a bug", "exception": ValueError()})
    assert loop.said == 3


class _Clock:
    seconds, said = 1.0, 0

    def time(self):
        return self.seconds

    def default_exception_handler(self, _):
        self.said += 1


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", ""]
)
def test_another_sites_name_for_this_machine(client, kit, host):
    response = client.get("/v2/health/live", headers={"Host": host})
    assert f"Host is '{host.partition(':')[0]}'; wanted one of 127.0.0.1" in kit.error(
        response, 400
    )


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1:99", "[::1]:8000", "[::1]"]
)
def test_this_machines_names(client, host):
    assert client.get("/v2/health/live", headers={"Host": host}).status_code == 200
