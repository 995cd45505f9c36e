"""The protocol's routes, readiness and failures, on a real server."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from export.bundle import Golden
from roadshift import Failure
from serve.http.app import build_app
from serve.limits import Limits
from serve.media.codec import encode_png
from serve.models.service import Service
from serve.runtime.engine import Engine


def test_unknown_addresses(client, kit):
    assert kit.error(client.get("/nowhere"), 404)
    assert kit.error(client.get(kit.INFER), 405)
    assert kit.error(client.get("/v2/models/Tiny"), 404).startswith("unknown model 'Tiny'")
    assert "unknown version" in kit.error(client.get("/v2/models/tiny/versions/01"), 404)
    assert kit.error(client.get("/v2/models/tiny%2F..%2Ftiny"), 404)
    for what in ("ready", "config", "stats"):
        assert "unknown model" in kit.error(client.get(f"/v2/models/other/{what}"), 404)


@pytest.mark.parametrize("length", ["x", "-1", "1e3", "٣", "9" * 30])
def test_wrong_header_length(client, length, kit):
    headers = [(b"Inference-Header-Content-Length", length.encode())]
    message = kit.error(client.post(kit.INFER, content=b"{}", headers=headers), 400)
    assert "is not a number of bytes" in message


def test_raw_mode(fixed, kit):
    image = kit.random_image(1, 16, 24)
    headers = {"Inference-Header-Content-Length": "0"}
    with kit.running(fixed) as client:
        response = client.post(kit.INFER, content=image.tobytes(), headers=headers)
        assert response.headers["content-type"] == "application/octet-stream"
        length = int(response.headers["inference-header-content-length"])
        document = json.loads(response.content[:length])
        sizes = [o["parameters"]["binary_data_size"] for o in document["outputs"]]
        assert sizes == [384, 384, 4 * 4 * 4 * 6]
        labels = np.frombuffer(response.content[length : length + 384], np.uint8)
        assert np.array_equal(labels.reshape(16, 24), kit.true_labels(image))


def test_a_list_of_encodings_is_no_wish(client, kit):
    ask = kit.binary(kit.random_image(1)[None])
    assert "content-encoding" not in client.post(kit.INFER, **ask).headers
    ask["headers"]["Accept-Encoding"] = "gzip"
    response = client.post(kit.INFER, **ask)
    assert response.headers["content-encoding"] == "gzip"
    assert response.json()["outputs"][0]["shape"] == [1, 32, 48]


def test_the_answer_to_a_failure_says_no_path(client, kit, monkeypatch, caplog):
    def fails(*_):
        raise Failure("/secret/place is full")

    monkeypatch.setattr(client.engine, "run", fails)
    message = kit.error(client.post(kit.INFER, **kit.binary(kit.random_image(1)[None])), 500)
    assert message == "the engine failed; the server's log says why"
    assert "/secret/place" in caplog.text


def test_the_answer_to_a_bug_says_no_path(client, kit, monkeypatch, caplog):
    monkeypatch.setattr(client.engine, "run", lambda *_: Path("/secret/place").read_bytes())
    message = kit.error(client.post(kit.INFER, **kit.binary(kit.random_image(1)[None])), 500)
    assert message == "internal error; the server's log says where"
    kit.wait_until(lambda: "/secret/place" in caplog.text)  # it is logged after the answer


def test_not_ready_before_the_golden_frames_were_checked(tiny, kit):
    with kit.running(tiny, ready=False) as client:
        assert client.get("/v2/health/live").status_code == 200
        assert "have not been checked yet" in kit.error(client.get("/v2/health/ready"), 503)
        assert kit.error(client.get("/v2/models/tiny/ready"), 503)
        response = client.post("/segment", content=encode_png(kit.random_image(1)), headers=kit.PNG)
        assert "not ready" in kit.error(response, 503)
        assert response.headers["retry-after"] == "1"
        index = client.post("/v2/repository/index").json()
        assert index[0]["state"] == "UNAVAILABLE"
        client.engine.gate.set()
        kit.wait_until(lambda: client.get("/v2/health/ready").status_code == 200)
        kit.small(client)


def test_a_server_that_cannot_become_ready_ends(tmp_path, kit, caplog):
    image = kit.random_image(1)
    wrong = Golden(image, 3 - kit.true_labels(image))
    bundle = kit.make_bundle(tmp_path / "b", golden=[wrong])
    with kit.running(bundle, ready=False) as client:
        assert kit.error(client.get("/v2/health/ready"), 503)
        client.engine.gate.set()
        kit.wait_until(lambda: client.server.failure is not None)
    assert isinstance(client.server.failure, Failure)
    assert "did not become ready: on this device bundle tiny gives" in str(client.server.failure)
    assert "golden frame" in caplog.text


def test_answers_are_sent_without_delay(client):
    """Headers and body are two writes: with Nagle's algorithm the second waits for the client."""
    client.get("/v2/health/live")
    accepted = next(iter(client.server.uvicorn.server_state.connections)).transport
    plug = accepted.get_extra_info("socket")
    assert plug.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_face_that_fails_while_it_is_open_or_closed_says_why(tiny):
    """Its own error, and the service is closed; where one cannot open, the server is not ready."""

    async def serve(beside, failures):
        service = Service([Engine(tiny, threads=1)], Limits())
        app = build_app(service, beside=beside, on_failure=failures.append)
        try:
            async with app.router.lifespan_context(app):
                return service.readiness.unready
        finally:
            with pytest.raises(RuntimeError, match="after shutdown"):
                service._device.thread._pool.submit(int)

    @asynccontextmanager
    async def ends_badly(_):
        yield
        raise OSError("the port is gone")

    @asynccontextmanager
    async def never_opens(_):
        raise OSError("the port is taken")
        yield

    with pytest.raises(OSError, match="the port is gone"):
        asyncio.run(serve(ends_badly, []))
    failures = []
    assert asyncio.run(serve(never_opens, failures)) == "the server could not start"
    assert [str(error) for error in failures] == ["the port is taken"]
