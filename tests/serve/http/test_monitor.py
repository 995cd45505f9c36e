"""Self-checks on a real server: asked for, in idle time, and of bundles that cannot."""

import io
import json
import shutil
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from export.bundle import read_bundle
from serve.limits import Limits
from serve.media.codec import encode_png
from serve.models.self_check.self_check import UNUSUAL, SelfCheck


@pytest.fixture(scope="module")
def client(checked, kit):
    with kit.running(checked) as client:
        yield client


def street(kit, seed: int = 0) -> np.ndarray:
    """A frame that its labels explain, since it is their drawing."""
    coarse = np.random.default_rng(seed).integers(0, 4, (12, 18), np.uint8)
    return kit.true_image(cv2.resize(coarse, (96, 64), interpolation=cv2.INTER_NEAREST))


def wanted(client, kit, image):
    check = SelfCheck(client.engine.bundle, 0.25, 0.125)
    return check(image, kit.true_image(kit.true_labels(image)))


def ask(client, kit, image, query="monitor=1"):
    response = client.post(f"/segment?{query}", content=encode_png(image), headers=kit.PNG)
    assert response.status_code == 200, response.text
    return response


def figures(client, name):
    text = client.get("/metrics").text
    samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
    return {s.labels.get("le"): s.value for s in samples if s.name == f"roadshift_monitor_{name}"}


def checks(client) -> float:
    """How many there were."""
    return figures(client, "score_count").get(None, 0)


@pytest.mark.parametrize("kind", ["labels", "confidence", "overlay"])
def test_the_score_is_a_header_of_what_was_asked_for(client, kit, kind):
    image = kit.random_image(1)
    response = ask(client, kit, image, f"monitor=1&as={kind}")
    assert response.headers["content-type"].startswith("image/")
    score = float(response.headers["monitor-score"])
    assert score == pytest.approx(wanted(client, kit, image).score, abs=1e-3)
    assert "monitor;dur=" in response.headers["server-timing"]
    plain = ask(client, kit, image, f"as={kind}&monitor=0")
    assert plain.content == response.content
    assert "monitor-score" not in plain.headers


def test_json_has_the_map(client, kit):
    image = kit.random_image(1)
    response = ask(client, kit, image, "monitor=1&as=json")
    found, true = response.json()["monitor"], wanted(client, kit, image)
    assert found["score"] == pytest.approx(true.score, abs=1e-3)
    assert np.array(found["map"]) == pytest.approx(true.map, abs=1e-3)
    assert "monitor" not in ask(client, kit, image, "as=json").json()


def test_each_of_several_images_has_its_own(client, kit):
    images = {"a.png": kit.random_image(1), "b.png": street(kit)}
    files = [("image", (name, encode_png(image))) for name, image in images.items()]
    response = client.post("/segment?monitor=1&as=labels,json", files=files)
    true = [wanted(client, kit, image).score for image in images.values()]
    scores = [float(one) for one in response.headers["monitor-score"].split(", ")]
    assert scores == pytest.approx(true, abs=1e-3)
    assert scores[1] < 0 < UNUSUAL < scores[0]
    with zipfile.ZipFile(io.BytesIO(response.content)) as packed:
        inside = [json.loads(packed.read(f"{name}.json"))["monitor"]["score"] for name in "ab"]
    assert inside == scores


def test_what_is_asked_for_is_counted(checked, kit):
    with kit.running(checked) as client:
        ask(client, kit, kit.random_image(1))
        ask(client, kit, street(kit))
        buckets = figures(client, "score_bucket")
        assert buckets["-1.0"] == buckets["1.645"] == 1
        assert buckets["+Inf"] == checks(client) == 2
        assert figures(client, "unusual_total")[None] == 1


@pytest.mark.parametrize("which", ["tiny", "drawn"])
def test_a_bundle_that_cannot_says_so_before_anything_is_read(which, kit, request):
    with kit.running(request.getfixturevalue(which), Limits(monitor_every=1)) as client:
        message = kit.error(client.post("/segment?monitor=1", content=b"no image"), 400)
        assert message == (
            "'tiny' cannot check itself: that takes a reconstructor, exported with what usual "
            "frames score"
        )
        with pytest.raises(InvalidStatus) as caught:
            connect(f"ws://{client.address}/stream?monitor=1")
        assert caught.value.response.status_code == 400
        kit.small(client)
        assert checks(client) == 0


def test_what_it_compares_with_is_read_before_it_is_ready(checked, kit, tmp_path):
    """Not with the first frame, when other files may lie there."""
    folder = shutil.copytree(checked.folder, tmp_path / "bundle")
    image = kit.random_image(1)
    with kit.running(read_bundle(folder)) as client:
        shutil.rmtree(folder)
        score = float(ask(client, kit, image).headers["monitor-score"])
        client.engine.bundle = checked
        assert score == pytest.approx(wanted(client, kit, image).score, abs=1e-3)


def test_a_stream_tells_each_frames_score(client, kit):
    image = kit.random_image(2)
    with connect(f"ws://{client.address}/stream?monitor=1") as plug:
        plug.send(encode_png(image))
        head = json.loads(plug.recv(timeout=10))
        plug.recv(timeout=10)
    assert head["monitor_score"] == pytest.approx(wanted(client, kit, image).score, abs=1e-3)


def test_every_third_frame_is_checked_unasked(checked, kit):
    with kit.running(checked, Limits(monitor_every=3)) as client:
        for number in range(1, 8):
            image = kit.random_image(number) if number % 3 else street(kit, number)
            response = ask(client, kit, image, "as=labels")
            assert "monitor-score" not in response.headers
            kit.wait_until(lambda n=number: checks(client) == n // 3)
        assert figures(client, "score_bucket")["0.0"] == 2


def test_nothing_is_checked_unasked_while_requests_wait(checked, kit):
    with (
        kit.running(checked, Limits(monitor_every=1)) as client,
        ThreadPoolExecutor(3) as pool,
    ):
        client.engine.gate.clear()
        asked = [pool.submit(ask, client, kit, kit.random_image(1), "") for _ in range(3)]
        kit.wait_until(lambda: client.taken == 3)
        client.engine.gate.set()
        for one in asked:
            one.result()
        kit.wait_until(lambda: checks(client) == 1)  # of the last, behind whom nobody waited
        assert not threading.Event().wait(0.2)
        assert checks(client) == 1


def test_a_check_that_fails_unasked_is_a_line_in_the_log(checked, kit, monkeypatch, caplog):
    def broken(*_):
        raise ValueError("no such structure")

    monkeypatch.setattr("serve.models.self_check.self_check.unexplained", broken)
    with kit.running(checked, Limits(monitor_every=1)) as client:
        ask(client, kit, kit.random_image(1), "")
        kit.wait_until(lambda: "a frame of tiny was not checked: no such structure" in caplog.text)
        kit.small(client)
        assert checks(client) == 0
