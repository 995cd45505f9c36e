"""What the page's scripts ask for, in process."""

import base64
import json

import cv2
import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from demo.page.api import Api, ShownModel
from demo.page.visitors import Queue
from serve.media.codec import decode, encode_png
from serve.runtime.engine import Engine


@pytest.fixture(scope="module")
def api(bundle) -> Api:
    return Api([ShownModel(Engine(bundle, threads=1), "adapted")])


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
