"""Bundles that change while the server answers."""

import gc
import json
import shutil
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton
from prometheus_client.parser import text_string_to_metric_families
from tritonclient.utils import InferenceServerException
from websockets.sync.client import connect

from export.bundle import Golden, read_bundle
from serve.grpc.server import grpc_on
from serve.media.codec import encode_png
from serve.runtime.image_graphs import image_graphs_of

LOAD, UNLOAD = (f"/v2/repository/models/tiny/{verb}" for verb in ("load", "unload"))


@pytest.fixture
def folder(tmp_path, kit):
    return kit.make_bundle(tmp_path / "bundle").folder


@contextmanager
def serving(folder, kit, **more):
    """A server whose one bundle may be loaded again; `client.opened` are the engines of that."""
    opened = []

    def opener():
        bundle = read_bundle(folder)
        opened.append(kit.GatedEngine(bundle))
        return [opened[-1], *image_graphs_of(bundle, threads=1)]

    with kit.running(read_bundle(folder), openers={"tiny": opener}, **more) as client:
        client.opened = opened
        yield client


def new_version(folder, kit, **changes):
    shutil.rmtree(folder)
    kit.make_bundle(folder, **changes)


def version(client):
    return client.get("/v2/models/tiny").json()["versions"]


def test_hot_swap_under_load(folder, kit):
    image = kit.random_image(1)
    data = encode_png(image)
    with serving(folder, kit) as client, ThreadPoolExecutor(4) as pool:
        stop = False

        def ask(number):
            statuses = []
            while not stop:
                if number % 2:
                    answer = client.post(kit.INFER, **kit.binary(image[None]))
                else:
                    answer = client.post("/segment", content=data, headers=kit.PNG)
                statuses.append(answer.status_code)
            return statuses

        asking = [pool.submit(ask, number) for number in range(4)]
        for loaded in (2, 3, 4):
            new_version(folder, kit)
            assert client.post(LOAD).status_code == 200
            assert version(client) == [str(loaded)]
            kit.wait_until(lambda: client.opened[-1].runs > 3)
        stop = True
        found = [status for each in asking for status in each.result()]
    assert set(found) == {200}
    assert len(found) > 12


def test_who_began_with_a_version_ends_with_it(folder, kit):
    ask = kit.binary(kit.random_image(1)[None])
    with serving(folder, kit) as client, ThreadPoolExecutor(3) as pool:
        client.engine.gate.clear()
        client.engine.entered.clear()
        old = pool.submit(client.post, kit.INFER, **ask)
        assert client.engine.entered.wait(5)
        new_version(folder, kit)
        assert client.post(LOAD).status_code == 200
        new = pool.submit(client.post, kit.INFER, **ask)
        third = pool.submit(client.post, LOAD)
        kit.wait_until(lambda: client.taken == 1)
        assert not old.done()
        assert len(client.opened) == 1  # two versions at most: the third waits for the first
        client.engine.gate.set()
        assert old.result().json()["model_version"] == "1"
        assert new.result().json()["model_version"] in ("2", "3")
        assert third.result().status_code == 200
        assert version(client) == ["3"]


def test_a_frame_is_checked_by_the_version_that_labelled_it(checked, kit, tmp_path):
    folder = shutil.copytree(checked.folder, tmp_path / "bundle")
    frame = {"content": encode_png(kit.random_image(1)), "headers": kit.PNG}
    with serving(folder, kit) as client, ThreadPoolExecutor(1) as pool:
        client.engine.gate.clear()
        client.engine.entered.clear()
        old = pool.submit(client.post, "/segment?monitor=1", **frame)
        assert client.engine.entered.wait(5)
        new_version(folder, kit)
        assert client.post(LOAD).status_code == 200
        refused = client.post("/segment?monitor=1", **frame)
        assert "cannot check itself" in kit.error(refused, 400)
        client.engine.gate.set()
        assert old.result().status_code == 200, old.result().text
        assert float(old.result().headers["monitor-score"])


def test_a_stream_that_meets_a_version_without_a_check_is_told(checked, kit, tmp_path):
    folder = shutil.copytree(checked.folder, tmp_path / "bundle")
    data = encode_png(kit.random_image(1))
    with serving(folder, kit) as client, connect(f"ws://{client.address}/stream?monitor=1") as plug:
        plug.send(data)
        assert "monitor_score" in json.loads(plug.recv(timeout=10))
        plug.recv(timeout=10)
        new_version(folder, kit)
        assert client.post(LOAD).status_code == 200
        plug.send(data)
        assert "cannot check itself" in json.loads(plug.recv(timeout=10))["error"]


def damaged(folder, kit):
    with (folder / "segmentor.onnx").open("r+b") as file:
        file.write(b"x")


def deleted(folder, kit):
    shutil.rmtree(folder)


def renamed(folder, kit):
    new_version(folder, kit, name="other")


def wrong(folder, kit):
    """Whole, and its golden frames do not come out."""
    image = kit.random_image(0)
    new_version(folder, kit, golden=[Golden(image, (kit.true_labels(image) + 1) % 4)])


def cut(folder, kit):
    """No ONNX file at all, with the right hash."""
    new_version(folder, kit, graph=b"\x08\x0a")


@pytest.mark.parametrize("broken", [damaged, deleted, renamed, wrong, cut])
def test_a_bad_version_never_replaces_a_good_one(folder, kit, broken, caplog):
    image = kit.random_image(1)
    with serving(folder, kit) as client:
        broken(folder, kit)
        said = kit.error(client.post(LOAD), 409)
        assert "Nothing changed" in said
        assert str(folder.parent) not in said
        assert "tiny was not loaded: " in caplog.text
        assert version(client) == ["1"]
        answer = client.post(kit.INFER, **kit.binary(image[None]))
        assert np.array_equal(answer.json()["outputs"][0]["data"], kit.true_labels(image).ravel())


def test_the_graphs_of_a_bundle_come_and_go_with_it(folder, kit):
    with serving(folder, kit) as client:
        new_version(folder, kit, others={"reconstructor.onnx": kit.drawing(None)})
        assert client.post(LOAD).status_code == 200
        index = client.post("/v2/repository/index").json()
        assert [entry["name"] for entry in index] == ["tiny", "tiny-reconstructor"]
        new_version(folder, kit)
        assert client.post(LOAD).status_code == 200
        assert client.get("/v2/models/tiny-reconstructor").status_code == 404


def test_the_pixel_limit_is_that_of_what_is_loaded(folder, kit):
    data = encode_png(np.zeros((2100, 2000), np.uint8))
    with serving(folder, kit) as client:
        assert client.post("/segment", content=data, headers=kit.PNG).status_code == 413
        new_version(folder, kit, provenance={"work_size": [1100, 1000]})
        assert client.post(LOAD).status_code == 200
        assert client.post("/segment", content=data, headers=kit.PNG).status_code == 200


def test_unload_and_load(folder, kit, tmp_path):
    data = encode_png(kit.random_image(1))
    other = kit.GatedEngine(kit.make_bundle(tmp_path / "other", name="other"))
    engines = [kit.GatedEngine(read_bundle(folder)), other]
    with serving(folder, kit, engines=engines) as client:
        segment = lambda **ask: client.post(  # noqa: E731
            "/segment", params={"as": "json", **ask}, content=data, headers=kit.PNG
        )
        assert client.post(UNLOAD).status_code == 200
        assert segment().json()["model"] == "other"
        refused = segment(model="tiny")
        assert kit.error(refused, 503) == "model 'tiny' is unloaded"
        assert refused.headers["retry-after"] == "1"
        entry = {"name": "tiny", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"}
        index = client.post("/v2/repository/index").json()
        assert index[1] == entry
        ready = client.post("/v2/repository/index", json={"ready": True}).json()
        assert ready == index[:1]
        assert client.post(LOAD).status_code == 200
        assert segment().json()["model"] == "tiny"
        assert version(client) == ["2"]


def test_all_unloaded(folder, kit):
    with serving(folder, kit) as client:
        assert client.post(UNLOAD).status_code == 200
        for path in ("/", "/v2/models/tiny"):
            assert "unloaded" in kit.error(client.get(path), 503)
        answer = client.post("/segment", content=b"", headers=kit.PNG)
        assert kit.error(answer, 503) == "all models are unloaded"
        assert client.post(LOAD).status_code == 200
        kit.small(client)


def test_models_stay_as_they_are_unless_the_operator_says_so(kit, client):
    assert "--model-control" in kit.error(client.post(LOAD), 403)
    assert client.post(UNLOAD).status_code == 403


def test_who_may_load_what(folder, kit):
    with serving(folder, kit) as client:
        for name in ("other", "..%2Fother", "%2Fetc"):
            path = f"/v2/repository/models/{name}/load"
            assert client.post(path).status_code == 404
        for parameters in ({"config": "{}"}, {"file:1/model.onnx": "AA=="}):
            answer = client.post(LOAD, json={"parameters": parameters})
            assert "is not taken: a model is loaded as it is" in kit.error(answer, 400)
        assert client.post(LOAD, content=b"[").status_code == 400
        assert client.opened == []


def test_the_figures_of_the_version_before_stay(folder, kit):
    with serving(folder, kit) as client:
        kit.small(client)
        for _ in range(2):
            assert client.post(LOAD).status_code == 200
            kit.small(client)
        found = {
            sample.labels["version"]: sample.value
            for family in text_string_to_metric_families(client.get("/metrics").text)
            for sample in family.samples
            if sample.name == "nv_inference_count"
        }
        assert found == {"2": 1, "3": 1}


def test_versions_that_are_offered_no_more_leave_the_memory(folder, kit):
    with serving(folder, kit) as client:
        for _ in range(2):
            assert client.post(LOAD).status_code == 200
        kit.small(client)
        before = weakref.ref(client.opened[0])
        now = weakref.ref(client.opened[1])
        client.opened.clear()
        kit.wait_until(lambda: gc.collect() >= 0 and before() is None)
        assert now() is not None
        assert client.post(UNLOAD).status_code == 200
        kit.wait_until(lambda: gc.collect() >= 0 and now() is None)


def test_by_tritons_clients(folder, kit):
    ports = []
    with serving(folder, kit, beside=grpc_on("127.0.0.1", 0, ports.append)) as client:
        remotes = [
            triton.InferenceServerClient(client.address),
            triton_grpc.InferenceServerClient(f"127.0.0.1:{ports[0]}"),
        ]
        for remote in remotes:
            remote.load_model("tiny")
            assert remote.is_model_ready("tiny")
            remote.unload_model("tiny")
            with pytest.raises(InferenceServerException, match="unloaded"):
                remote.get_model_metadata("tiny")
            with pytest.raises(InferenceServerException, match="is not taken"):
                remote.load_model("tiny", config="{}")
            deleted(folder, kit)
            with pytest.raises(InferenceServerException, match="Nothing changed"):
                remote.load_model("tiny")
            kit.make_bundle(folder)
            remote.load_model("tiny")
            remote.close()
        assert version(client) == ["5"]


def test_a_bundle_that_is_deleted_while_it_runs(folder, kit):
    """What needs more of the graph than was loaded at first finds it."""
    data = encode_png(kit.random_image(1))
    with serving(folder, kit) as client:
        deleted(folder, kit)
        for kind in ("labels", "confidence"):
            answer = client.post(f"/segment?as={kind}", content=data, headers=kit.PNG)
            assert answer.status_code == 200


def test_a_file_that_is_written_into_while_it_runs(folder, kit, caplog):
    """It is not loaded, whatever it holds now; what is loaded goes on."""
    data = encode_png(kit.random_image(1))
    with serving(folder, kit) as client:
        damaged(folder, kit)
        answer = client.post("/segment?as=confidence", content=data, headers=kit.PNG)
        assert kit.error(answer, 500) == "the engine failed; the server's log says why"
        assert "segmentor.onnx" in caplog.text
        assert "was changed after it was checked" in caplog.text
        kit.small(client)
