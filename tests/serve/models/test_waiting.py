"""Queue, deadlines, clients that leave, and stopping, on a real server."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from serve.limits import Limits
from serve.media.codec import encode_png


@pytest.fixture
def held(tiny, kit):
    """A server whose engine is held up by a first request; one more may wait."""
    with kit.running(tiny, Limits(waiting=1)) as client, ThreadPoolExecutor(4) as pool:
        client.engine.gate.clear()
        client.engine.entered.clear()
        first = pool.submit(infer, client, kit)
        assert client.engine.entered.wait(5)
        yield client, pool
        client.engine.gate.set()
        assert first.result().status_code == 200


def infer(client, kit, **more):
    return client.post(kit.INFER, **kit.binary(kit.random_image(1)[None], **more))


def test_the_queue_is_bounded_and_health_answers_meanwhile(held, kit):
    client, pool = held
    second = pool.submit(infer, client, kit)
    kit.wait_until(lambda: client.taken == 2)
    refused = client.post("/segment", content=encode_png(kit.random_image(1)), headers=kit.PNG)
    assert "2 requests are being worked on or waiting" in kit.error(refused, 429)
    assert refused.headers["retry-after"] == "1"
    kit.error(infer(client, kit), 429)
    assert client.get("/v2/health/live").status_code == 200
    assert client.get("/v2/health/ready").status_code == 200
    client.engine.gate.set()
    assert second.result().status_code == 200
    kit.small(client)


def test_a_deadline_that_passes_while_waiting(held, kit):
    client, _ = held
    runs = client.engine.runs
    late = infer(client, kit, parameters={"timeout": 50_000})
    assert "timeout passed before its turn came: it was not run" in kit.error(late, 504)
    data = encode_png(kit.random_image(1))
    response = client.post("/segment?timeout=50000", content=data, headers=kit.PNG)
    assert "timeout passed" in kit.error(response, 504)
    client.engine.gate.set()
    kit.wait_until(lambda: client.taken == 0)
    assert client.engine.runs == runs


@pytest.mark.parametrize("size", [(32, 48), (320, 480)])  # 5 kB; more than the server reads ahead
def test_a_client_that_leaves_while_waiting_leaves_the_line(held, kit, size):
    client, _ = held
    runs = client.engine.runs
    host, port = client.address.split(":")
    body = encode_png(kit.random_image(1, *size))
    head = "POST /segment HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
    with socket.create_connection((host, int(port))) as plug:
        plug.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        kit.wait_until(lambda: client.taken == 2)
    kit.wait_until(lambda: client.taken == 1)
    stats = client.get("/v2/models/tiny/stats").json()["model_stats"][0]
    assert stats["inference_stats"]["cancel"]["count"] == 1
    client.engine.gate.set()
    kit.wait_until(lambda: client.taken == 0)
    assert client.engine.runs == runs
    kit.small(client)


def test_a_deadline_that_has_passed_already(client, kit):
    late = infer(client, kit, parameters={"timeout": 1})
    assert "timeout passed" in kit.error(late, 504)


def test_requests_under_way_are_answered_when_the_server_stops(tiny, kit):
    with kit.running(tiny) as client, ThreadPoolExecutor(1) as pool:
        client.engine.gate.clear()
        client.engine.entered.clear()
        under_way = pool.submit(infer, client, kit)
        assert client.engine.entered.wait(5)
        client.server.uvicorn.should_exit = True
        threading.Timer(0.3, client.engine.gate.set).start()
        assert under_way.result().status_code == 200
