"""Streams, by another library's client over real sockets."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import cv2
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from roadshift import Failure
from serve.limits import Limits
from serve.media.codec import encode_png


def dial(client, query="", **more):
    return connect(f"ws://{client.address}/stream{query}", **more)


def answer(plug):
    """The next answer's head, and its content where it has one."""
    head = json.loads(plug.recv(timeout=10))
    return head, None if "error" in head else plug.recv(timeout=10)


def ending(plug):
    """The code and the reason with which the server ends the stream."""
    with pytest.raises(ConnectionClosed) as caught:
        while True:
            plug.recv(timeout=10)
    return caught.value.rcvd.code, caught.value.rcvd.reason


def frames(client):
    """How many frames had which outcome, by the server's own count."""
    return {
        sample.labels["outcome"]: sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
        if sample.name == "roadshift_stream_frames_total"
    }


def labels_of(content):
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize("ending", [".png", ".webp", ".jpg"])
def test_frames_are_answered_one_by_one(client, kit, ending):
    with dial(client) as plug:
        for number in (1, 2, 3):
            image = kit.random_image(number)
            quality = [cv2.IMWRITE_WEBP_QUALITY, 101] if ending == ".webp" else []
            data = cv2.imencode(ending, image[..., ::-1], quality)[1].tobytes()
            seen = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
            plug.send(data)
            head, content = answer(plug)
            assert (head["frame"], head["dropped"], head["type"]) == (number, 0, "image/png")
            assert head["times"].keys() == {"decode_ms", "engine_ms"}
            assert np.array_equal(labels_of(content), kit.true_labels(seen))


def test_other_answers(client, kit):
    data = encode_png(kit.random_image(1))
    with dial(client, "?as=json") as plug:
        plug.send(data)
        head, content = answer(plug)
        assert head["type"] == "application/json"
        assert json.loads(content)["model"] == "tiny"
    with dial(client, "?as=overlay&format=png&model=tiny") as plug:
        plug.send(data)
        assert labels_of(answer(plug)[1]).shape == (32, 48, 3)


@contextmanager
def held(tiny, kit, **limits):
    """A stream whose first frame is held up at the engine."""
    with kit.running(tiny, Limits(**limits)) as client, dial(client) as plug:
        client.engine.gate.clear()
        client.engine.entered.clear()
        plug.send(encode_png(kit.random_image(1)))
        assert client.engine.entered.wait(5)
        yield client, plug
        client.engine.gate.set()


def test_the_newest_frame_wins(tiny, kit):
    with held(tiny, kit) as (client, plug):
        for seed in range(2, 7):
            plug.send(encode_png(kit.random_image(seed)))
        kit.wait_until(lambda: frames(client).get("dropped") == 4)
        runs = client.engine.runs
        client.engine.gate.set()
        head, content = answer(plug)
        assert head["frame"] == 1
        head, content = answer(plug)
        assert (head["frame"], head["dropped"]) == (6, 4)
        assert np.array_equal(labels_of(content), kit.true_labels(kit.random_image(6)))
        assert client.engine.runs == runs + 1
        assert frames(client) == {"answered": 2, "dropped": 4}


def test_a_wrong_frame_is_told_and_the_stream_goes_on(tiny, kit):
    with kit.running(tiny, Limits(pixels=1000)) as client, dial(client) as plug:
        for data, status, wrong in (
            (b"GIF89a", 415, "wanted a JPEG, PNG or WebP image"),
            (encode_png(np.zeros((40, 40), np.uint8)), 413, "at most 1000 are taken"),
            (encode_png(kit.random_image(1))[:-20], 413, "at most 1000"),
            (b"", 415, "an empty body"),
        ):
            plug.send(data)
            head, _ = answer(plug)
            assert head["status"] == status
            assert wrong in head["error"]
        plug.send(encode_png(np.zeros((8, 8), np.uint8)))
        assert answer(plug)[0]["frame"] == 5
        assert frames(client) == {"refused": 4, "answered": 1}


def test_an_engine_that_fails_fails_one_frame(tiny, kit, monkeypatch, caplog):
    def fails(*_):
        raise Failure("/secret/place is full")

    data = encode_png(kit.random_image(1))
    with kit.running(tiny) as client, dial(client) as plug:
        with monkeypatch.context() as broken:
            broken.setattr(client.engine, "run", fails)
            plug.send(data)
            assert answer(plug)[0]["error"] == "the engine failed; the server's log says why"
        assert "/secret/place" in caplog.text
        plug.send(data)
        assert answer(plug)[1]


def test_a_full_line_is_told(tiny, kit):
    data = encode_png(kit.random_image(1))
    with held(tiny, kit, waiting=0) as (client, _), dial(client) as other:
        other.send(data)
        head, _ = answer(other)
        assert head["status"] == 429
        assert head["error"].endswith("try again later")


def test_a_timeout_counts_from_the_arrival_of_the_frame(tiny, kit):
    with held(tiny, kit) as (client, _), dial(client, "?timeout=50000") as other:
        other.send(encode_png(kit.random_image(1)))
        assert answer(other)[0]["status"] == 504


def test_a_frame_larger_than_the_limit(tiny, kit):
    with kit.running(tiny, Limits(frame_bytes=1000)) as client, dial(client) as plug:
        plug.send(bytes(1001))
        assert ending(plug)[0] == 1009
        kit.small(client)


def test_a_message_in_too_many_pieces(client, kit):
    with dial(client) as plug:
        with pytest.raises(ConnectionClosed):
            plug.send(b"" for _ in range(3000))
            plug.recv(timeout=10)
        kit.small(client)


def test_text_is_no_frame(client):
    with dial(client) as plug:
        plug.send("hello")
        assert ending(plug) == (1003, "send image files, as binary messages")


def test_a_stream_without_frames_ends(tiny, kit):
    limits = Limits(stream_idle_seconds=0.3)
    with kit.running(tiny, limits) as client, dial(client) as plug:
        assert ending(plug) == (1008, "no frame came in for 0.3 s")
        kit.wait_until(lambda: client.server.service.streams == 0)


def test_a_stream_outlives_the_time_for_headers(tiny, kit):
    with kit.running(tiny, Limits(header_seconds=0.1)) as client, dial(client) as plug:
        with pytest.raises(TimeoutError):
            plug.recv(timeout=0.4)
        plug.send(encode_png(kit.random_image(1)))
        assert answer(plug)[1]


def test_a_client_that_leaves_ends_its_frame(tiny, kit):
    with held(tiny, kit) as (client, plug), dial(client) as other:
        other.send(encode_png(kit.random_image(2)))
        kit.wait_until(lambda: client.taken == 2)
        other.close()
        kit.wait_until(lambda: client.taken == 1)
        kit.wait_until(lambda: client.server.service.streams == 1)
        assert frames(client) == {"dropped": 1}
        client.engine.gate.set()
        assert answer(plug)[0]["frame"] == 1


def test_a_half_closed_stream_ends(tiny, kit):
    """The client says that nothing more comes, and keeps its side open."""
    with held(tiny, kit) as (client, plug):
        plug.socket.shutdown(socket.SHUT_WR)
        kit.wait_until(lambda: client.server.service.streams == 0)
        kit.wait_until(lambda: len(client.server.uvicorn.server_state.connections) == 1)


def test_a_client_that_does_not_read_is_cut_off(tiny, kit):
    data = encode_png(kit.random_image(1, 500, 1000))
    with kit.running(tiny, Limits(answer_seconds=0.2)) as client, dial(client, max_queue=1) as plug:
        plug.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with pytest.raises(ConnectionClosed):
            for _ in range(1000):
                plug.send(data)
        kit.wait_until(lambda: client.server.service.streams == 0)


def test_as_many_streams_as_the_limit(tiny, kit):
    with kit.running(tiny, Limits(streams=1)) as client, dial(client):
        assert status_of(client) == 503
    assert client.server.service.streams == 0


def status_of(client, query="", **more):
    """How the server refuses a stream."""
    with pytest.raises(InvalidStatus) as caught, dial(client, query, **more):
        pass
    assert "error" in json.loads(caught.value.response.body)
    return caught.value.response.status_code


@pytest.mark.parametrize(
    ("query", "status"), [("?as=video", 400), ("?model=other", 404), ("?depth=1", 400)]
)
def test_wrong_addresses(client, query, status, caplog):
    assert status_of(client, query) == status
    assert "handshake" not in caplog.text


def test_another_sites_page(client):
    assert status_of(client, origin="http://evil.example") == 403
    assert status_of(client, origin="http://localhost.evil.example:8000") == 403
    assert status_of(client, origin="null") == 403
    host, port = client.address.split(":")
    with pytest.raises(InvalidStatus) as caught:
        connect("ws://evil.example/stream", sock=socket.create_connection((host, int(port))))
    assert b"Host is 'evil.example'; wanted one of" in caught.value.response.body
    with dial(client, origin="http://localhost:7860") as plug:
        plug.ping()
    post = {"content": b"GIF89a", "headers": {"Origin": "https://evil.example"}}
    assert client.post("/segment", **post).status_code == 403
    assert client.get("/v2", headers={"Origin": "https://evil.example"}).status_code == 200


def test_a_stream_is_a_line_in_the_log(client, caplog, kit):
    caplog.set_level("INFO", "serve.access")
    data = encode_png(kit.random_image(1))
    with dial(client) as plug:
        plug.send(data)
        answer(plug)
    line = f"127.0.0.1 STREAM /stream 101 in={len(data)} out="
    kit.wait_until(lambda: line in caplog.text)


def test_stopping_answers_the_frame_under_way(tiny, kit):
    with held(tiny, kit) as (client, plug):
        client.server.uvicorn.should_exit = True
        kit.wait_until(lambda: client.server.service.readiness.unready == "the server stops")
        client.engine.gate.set()
        assert answer(plug)[0]["frame"] == 1
        assert ending(plug)[0] == 1012


def test_stopping_ends_a_frame_that_takes_too_long(tiny, kit, caplog):
    with held(tiny, kit, grace_seconds=1) as (client, plug), ThreadPoolExecutor(1) as pool:
        client.server.uvicorn.should_exit = True
        assert pool.submit(ending, plug).result()[0] == 1012
    assert "Traceback" not in caplog.text
