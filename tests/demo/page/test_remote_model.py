"""A page whose labels come from a running `roadshift serve`: over real sockets, bit for bit."""

import base64
import importlib.util
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from demo.page import remote_model
from demo.page.api import Api, ShownModel
from demo.page.remote_model import RemoteModel, connect
from demo.page.visitors import LIVE
from roadshift import Failure, UserError
from serve.http.guard import OPEN, Guard
from serve.http.listening_socket import listen
from serve.http.server import Server
from serve.limits import Limits, Refusal
from serve.media.codec import encode_png
from serve.models.api_keys import read_keys
from serve.runtime.engine import Engine
from serve.runtime.image_graphs import image_graphs_of

ROOT = Path(__file__).resolve().parents[3]
KEY = "0123456789abcdef-the-key"


@contextmanager
def served(*bundles, guard: Guard = OPEN, limits: Limits | None = None):
    """The address of a server of these bundles."""
    graphs = [Engine(one, threads=1) for one in bundles]
    graphs += [graph for one in bundles for graph in image_graphs_of(one, threads=1)]
    with listen("127.0.0.1", 0) as bound:
        server = Server(graphs, bound, limits or Limits(), before=guard.before)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            url = f"http://127.0.0.1:{bound.getsockname()[1]}"
            end = time.monotonic() + 60
            while not server.uvicorn.started or server.service.readiness.unready is not None:
                assert time.monotonic() < end, server.service.readiness.unready
                time.sleep(0.01)
            yield url
        finally:
            server.uvicorn.should_exit = True
            thread.join(10)


@pytest.fixture(scope="module")
def address(bundle, other_bundle):
    with served(bundle, other_bundle) as url:
        yield url


@pytest.fixture
def client(address):
    with connect(address) as client:
        yield client


def answering(bundle, status: int, content: bytes = b"{}", headers=None) -> RemoteModel:
    """A model whose server begins well, and then answers that to every picture."""
    told = {"precision": {"string_value": "fp32"},
            "classes": {"string_value": json.dumps(bundle.classes)}}  # fmt: skip
    outputs = [{"name": "labels"}, {"name": "confidence"}]

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"output": outputs, "parameters": told})
        return httpx.Response(status, content=content, headers=headers)

    client = httpx.Client(base_url="http://server", transport=httpx.MockTransport(answer))
    return RemoteModel(bundle, client, "tiny-city")


def test_labels_and_confidence_are_the_engine_s_own(bundle, client, street) -> None:
    images = np.stack([street(40, 60, seed) for seed in (3, 4)])
    found = RemoteModel(bundle, client, "tiny-city").segment(images, confidence=True)
    wanted = Engine(bundle, threads=1).segment(images, confidence=True)
    assert np.array_equal(found.labels, wanted.labels)
    assert np.array_equal(found.confidence, wanted.confidence)
    assert RemoteModel(bundle, client, "tiny-city").segment(images).confidence is None


def test_only_what_is_shown_is_asked_for(bundle, client, street) -> None:
    sent: list[httpx.Request] = []
    model = RemoteModel(bundle, client, "tiny-city")
    client.event_hooks["request"].append(sent.append)
    for confidence in (False, True):
        model.segment(street(8, 8)[None], confidence=confidence)
    heads = [one.content[: int(one.headers[remote_model.JSON_LENGTH])] for one in sent]
    asked = [[output["name"] for output in json.loads(head)["outputs"]] for head in heads]
    assert asked == [["labels"], ["labels", "confidence"]]


def test_golden_frames_are_asked_of_the_server(bundle, client) -> None:
    assert RemoteModel(bundle, client, "tiny-city").check_golden() == 1.0
    # The other bundle names the same classes, and sees them elsewhere.
    with pytest.raises(Failure, match=r"wanted 99.9.*serve the same bundle there"):
        RemoteModel(bundle, client, "other-city").check_golden()


def test_a_server_that_was_started_again_with_another_bundle(bundle, other_bundle, street) -> None:
    image = street(8, 8)[None]
    with (
        served(bundle) as first,
        served(other_bundle) as second,
        connect(first) as client,
        connect(second) as later,
    ):
        model = RemoteModel(bundle, client, "tiny-city")
        model.check_golden()
        model._client, model._path = later, "/v2/models/other-city"
        with pytest.raises(Refusal) as refused:
            model.segment(image)
        assert (refused.value.status, str(refused.value)) == (502, remote_model.WRONG)
        model._client, model._path = client, "/v2/models/tiny-city"
        model.segment(image)


def test_a_model_that_does_not_fit_is_refused(bundle, client) -> None:
    other = replace(bundle, classes=("road", *bundle.classes[1:]))
    with pytest.raises(UserError, match=r"does not name the classes.*building, road"):
        RemoteModel(other, client, "tiny-city")
    with pytest.raises(UserError, match="in another order"):
        RemoteModel(replace(bundle, classes=bundle.classes[::-1]), client, "tiny-city")
    for name in ("nothing", "tiny-city-reconstructor", "../health", "tiny-city/config?"):
        with pytest.raises(UserError, match=r"has no segmentor at /v2/models/.*--model"):
            RemoteModel(bundle, client, name)


def test_a_server_that_is_none_is_told(bundle) -> None:
    with listen("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
    running = r"does not answer.*is `roadshift serve` running there"
    with (
        connect(f"http://127.0.0.1:{port}") as client,
        pytest.raises(UserError, match=running),
    ):
        RemoteModel(bundle, client, "tiny-city")
    other = httpx.Client(
        base_url="http://server",
        transport=httpx.MockTransport(lambda _: httpx.Response(200, content=b"<html>")),
    )
    with pytest.raises(UserError, match="has no segmentor"):
        RemoteModel(bundle, other, "tiny-city")


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://host", "http://", "file:///etc/hostname", "http://a:secret@b"]
)
def test_other_addresses_are_refused_without_their_secrets(url) -> None:
    with pytest.raises(UserError, match="http://HOST:PORT") as refused:
        connect(url)
    assert "secret" not in str(refused.value)


def test_the_key_is_sent_and_never_told(bundle, street, tmp_path, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    keys = tmp_path / "keys"
    keys.write_text(KEY + "\nanother-key-of-the-server\n")
    with served(bundle, guard=Guard(keys=read_keys(keys))) as url:
        with connect(url) as client, pytest.raises(UserError, match="--server-key-file") as refused:
            RemoteModel(bundle, client, "tiny-city")
        with connect(url, keys) as client:
            assert RemoteModel(bundle, client, "tiny-city").check_golden() == 1.0
            assert KEY not in repr(client.headers)
    assert KEY not in caplog.text + str(refused.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"schluessel", 2 * "schlüssel".encode()])
def test_a_file_without_a_key_is_refused(tmp_path, content) -> None:
    keys = tmp_path / "keys"
    keys.write_bytes(content)
    with pytest.raises(UserError, match="--server-key-file") as refused:
        connect("http://localhost:1", keys)
    assert "schl" not in str(refused.value)


@pytest.mark.parametrize(
    ("status", "content", "found", "words"),
    [
        (429, b'{"error": "8 wait"}', 503, remote_model.BUSY),
        (503, b'{"error": "not ready"}', 503, remote_model.BUSY),
        (400, b'{"error": "wanted images from 8x8 on"}', 400, "wanted images from 8x8 on"),
        (400, b"<html>", 502, remote_model.WRONG),
        (401, b'{"error": "a key is wanted"}', 502, remote_model.WRONG),
        (404, b'{"error": "no model tiny-city"}', 502, remote_model.WRONG),
        (500, b'{"error": "the engine failed"}', 502, remote_model.WRONG),
        (200, b'{"outputs": []}', 502, remote_model.WRONG),  # JSON where tensors are wanted
    ],
)
def test_visitors_read_a_sentence(bundle, street, status, content, found, words) -> None:
    with pytest.raises(Refusal) as refused:
        answering(bundle, status, content).segment(street(8, 8)[None])
    assert (refused.value.status, str(refused.value)) == (found, words)


@pytest.mark.parametrize("size", [0, 63, 65])
def test_tensors_of_another_size_are_not_shown(bundle, street, size) -> None:
    head = b'{"outputs": [{"name": "labels"}]}'
    length = {remote_model.JSON_LENGTH: str(len(head))}
    with pytest.raises(Refusal, match="does not answer as it should"):
        answering(bundle, 200, head + bytes(size), length).segment(street(8, 8)[None])
    model = answering(bundle, 200, head + bytes(64), length)
    assert model.segment(street(8, 8)[None]).labels.shape == (1, 8, 8)


def test_the_page_asks_the_server_and_says_when_it_is_gone(bundle, street) -> None:
    body = encode_png(street(40, 60))
    with ExitStack() as running:
        url = running.enter_context(served(bundle))
        client = running.enter_context(connect(url))
        api = Api([ShownModel(RemoteModel(bundle, client, "tiny-city"), "adapted")])
        page = TestClient(Starlette(routes=api.routes()))
        shown = page.post("/roadshift/segment", content=body).json()["labels"]
        data = np.frombuffer(base64.b64decode(shown.partition(",")[2]), np.uint8)
        labels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
        assert np.array_equal(labels, street(40, 60).argmax(2))
        small = page.post("/roadshift/segment", content=encode_png(street(4, 60)))
        assert (small.status_code, "8x8" in small.json()["error"]) == (400, True)
        with page.websocket_connect(LIVE) as live:
            live.send_bytes(body)
            assert "error" not in live.receive_json()
    with connect(url) as late:
        api._models[0].engine._client = late
        answer = page.post("/roadshift/segment", content=body)
    assert (answer.status_code, answer.json()["error"]) == (503, remote_model.GONE)


@pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="needs the extra 'demo'")
def test_the_command_shows_what_the_server_says(bundle, tmp_path, street) -> None:
    keys = tmp_path / "keys"
    keys.write_text(KEY)
    command = [sys.executable, "-m", "roadshift", "demo", str(bundle.folder), "--port", "0"]
    with served(bundle, guard=Guard(keys=read_keys(keys))) as url:
        command += ["--server", url, "--server-key-file", str(keys)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}
        demo = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        assert demo.stdout is not None
        said = [demo.stdout.readline()]
        try:
            while "http" not in said[-1]:
                said.append(demo.stdout.readline())
                assert said[-1], f"the demo ended: {said}"
            page = said[-1].split()[2]
            body = encode_png(street(40, 60))
            answer = httpx.post(f"{page}roadshift/segment", content=body, timeout=30)
        finally:
            demo.send_signal(signal.SIGINT)
            said += demo.communicate(timeout=20)[0]
    assert "100.00%" in said[0]
    assert answer.json()["note"].startswith("40x60 pixels")
    assert demo.returncode == 0
    assert KEY not in "".join(said)
    assert url not in answer.text
