"""What the page's scripts ask for, in process."""

import base64
import json

import cv2
import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from demo.page.answers import address
from demo.page.api import Api, ShownModel
from demo.page.visitors import Queue
from export.bundle import RECONSTRUCTOR
from serve.media.codec import decode, encode_png
from serve.runtime.engine import Engine
from serve.runtime.image_graphs import ImageGraph


@pytest.fixture(scope="module")
def api(bundle) -> Api:
    reconstructor = ImageGraph(bundle, RECONSTRUCTOR, threads=1)
    return Api([ShownModel(Engine(bundle, threads=1), "adapted")], reconstructor)


@pytest.fixture(scope="module")
def client(api) -> TestClient:
    return TestClient(Starlette(routes=api.routes()))


def grey(address: str) -> np.ndarray:
    """The values of a picture of one channel behind a data: address."""
    assert address.startswith("data:image/png;base64,")
    data = np.frombuffer(base64.b64decode(address.partition(",")[2]), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_UNCHANGED)


def test_a_picture_comes_back_with_labels_and_confidence(client, street) -> None:
    answer = client.post("/roadshift/segment", content=encode_png(street(40, 60)))
    assert answer.status_code == 200
    values = answer.json()
    assert (values["height"], values["width"]) == (40, 60)
    assert (grey(values["labels"]) == street(40, 60).argmax(2)).all()
    assert grey(values["confidence"]).shape == (40, 60)
    assert values["advice"] is None
    image = decode(base64.b64decode(values["image"].partition(",")[2]))
    assert np.abs(image.astype(int) - street(40, 60)).mean() < 12  # noise, as a JPEG


def test_errors_are_sentences_without_a_path(client, bundle, street) -> None:
    wrong = {
        "/roadshift/segment": (b"hello", 415, "no picture"),
        "/roadshift/segment?model=7": (b"", 404, "no such model"),
        "/roadshift/segment?model=-1": (b"", 404, "no such model"),
        "/roadshift/segment?size=9": (b"", 400, "'own' or 'learnt'"),
        "/roadshift/segment?": (encode_png(street(4, 60)), 400, "8x8"),
    }
    for path, (body, status, words) in wrong.items():
        answer = client.post(path, content=body)
        assert answer.status_code == status
        assert words in answer.json()["error"]
        assert str(bundle.folder) not in answer.text


def test_the_page_learns_of_the_bundle_and_not_where_it_lies(client, bundle) -> None:
    values = client.get("/roadshift/about").json()
    assert values["classes"] == list(bundle.classes)
    assert values["models"] == ["adapted"]
    assert values["examples"] == 2
    assert str(bundle.folder) not in json.dumps(values)


def test_the_golden_frames_are_the_examples(client, bundle) -> None:
    for number, golden in enumerate(bundle.golden()):
        data = client.get(f"/roadshift/examples/{number}").content
        assert (decode(data) == golden.image).all()
    assert client.get("/roadshift/examples/2").status_code == 404
    assert client.get("/roadshift/preview.jpg").headers["content-type"] == "image/jpeg"


def test_a_full_queue_is_said_in_a_friendly_way(bundle, street) -> None:
    api = Api([ShownModel(Engine(bundle, threads=1), "adapted")])
    api._queue = Queue(waiting=-1)
    client = TestClient(Starlette(routes=api.routes()))
    answer = client.post("/roadshift/segment", content=encode_png(street(8, 8)))
    assert answer.status_code == 503
    assert "try again in a few seconds" in answer.json()["error"]


def test_labels_are_redrawn_as_they_were_sent(client, street) -> None:
    labels = street(40, 60).argmax(2).astype(np.uint8)
    labels[:, 30:] = 2  # painted
    body = {"image": address("png", encode_png(street(40, 60))),
            "labels": address("png", encode_png(np.stack([labels] * 3, 2)))}  # fmt: skip
    answer = client.post("/roadshift/redraw", json=body).json()
    drawing = decode(base64.b64decode(answer["drawing"].partition(",")[2]))
    assert np.abs(drawing[10:30, 40:50].astype(int) - (80, 80, 180)).max() < 8
    assert grey(answer["difference"]).shape == (40, 60)


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"image": 1, "labels": 2}', '{"image": "x"}'])
def test_a_broken_wish_to_redraw_is_refused(client, body) -> None:
    answer = client.post("/roadshift/redraw", content=body)
    assert answer.status_code == 400
    assert "wanted JSON" in answer.json()["error"]


def test_tabs_are_those_that_the_bundles_can_fill(api, fixed_bundle) -> None:
    assert api.tabs == ["Picture", "Reconstruction", "Video"]
    models = [ShownModel(Engine(fixed_bundle, threads=1), name) for name in "ab"]
    assert Api(models).tabs == ["Picture", "Adaptation", "Video"]
    client = TestClient(Starlette(routes=Api(models).routes()))
    assert client.post("/roadshift/redraw").status_code == 404
