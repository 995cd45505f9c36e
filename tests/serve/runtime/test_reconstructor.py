"""The reconstructor's graph, alone and behind a real server."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import onnx
import pytest

from export.bundle import RECONSTRUCTOR
from roadshift import Failure, UserError
from serve.limits import Limits
from serve.runtime.image_graphs import ImageGraph, image_graph_of

FILE = "reconstructor.onnx"
NAME = "tiny-reconstructor"
INFER = f"/v2/models/{NAME}/infer"


@pytest.fixture(scope="module")
def reconstructor(drawn):
    return ImageGraph(drawn, RECONSTRUCTOR, threads=1)


@pytest.fixture(scope="module")
def client(drawn, kit):
    with kit.running(drawn) as client:
        yield client


def binary(labels, **more):
    tensor = {
        "name": "labels",
        "shape": list(labels.shape),
        "datatype": "UINT8",
        "parameters": {"binary_data_size": labels.size},
    }
    asked = {"name": "image", "parameters": {"binary_data": True}}
    head = json.dumps({"inputs": [tensor], "outputs": [asked], **more}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return {"content": head + labels.tobytes(), "headers": headers}


def labels(*shape):
    return np.random.default_rng(0).integers(0, 4, shape).astype(np.uint8)


def test_every_class_and_what_is_no_class(reconstructor, kit):
    given = labels(2, 9, 11)
    given[0, 0], given[0, 1] = 255, 4
    image = reconstructor.draw(given)
    assert image.dtype == np.uint8
    assert np.array_equal(image, kit.true_image(given))
    assert not image[0, :2].any()


def test_what_does_not_fit(reconstructor, tmp_path, kit):
    for shape in ((8, 8), (1, 8, 8, 3), (0, 8, 8)):
        with pytest.raises(UserError, match=r"wanted label maps of shape \[n,h,w\], got"):
            reconstructor.draw(np.zeros(shape, np.uint8))
    with pytest.raises(UserError, match=r"takes label maps from 8x8 .* on, got 7x9"):
        reconstructor.draw(np.zeros((1, 7, 9), np.uint8))
    bundle = kit.make_bundle(tmp_path / "b", size=(16, 24), others={FILE: kit.drawing((16, 24))})
    with pytest.raises(UserError, match=r"takes label maps of 16x24 .* only, got 8x8"):
        ImageGraph(bundle, RECONSTRUCTOR, threads=1).draw(np.zeros((1, 8, 8), np.uint8))


def test_a_bundle_without_one(tiny):
    assert image_graph_of(tiny, RECONSTRUCTOR) is None


def test_a_graph_of_something_else(tmp_path, kit):
    bundle = kit.make_bundle(tmp_path / "b", others={FILE: kit.graph(None)})
    with pytest.raises(Failure, match=r"of image UINT8; wanted image UINT8 of labels UINT8: exp"):
        ImageGraph(bundle, RECONSTRUCTOR, threads=1)


def test_golden_images(reconstructor, tmp_path, kit):
    assert reconstructor.check_golden() == np.inf
    swapped = [colour[::-1] for colour in kit.palette]
    bundle = kit.make_bundle(tmp_path / "b", others={FILE: kit.drawing(None, swapped)})
    with pytest.raises(Failure, match=r"bundle tiny rebuilds a golden image to .* wanted 40: use"):
        ImageGraph(bundle, RECONSTRUCTOR, threads=1).check_golden()
    almost = [(r, g, b + 2) for r, g, b in kit.palette]
    bundle = kit.make_bundle(tmp_path / "c", others={FILE: kit.drawing(None, almost)})
    found = ImageGraph(bundle, RECONSTRUCTOR, threads=1).check_golden()
    assert found == pytest.approx(10 * np.log10(255**2 * 3 / 4))  # 46.9 dB
    strict = replace(bundle, checks={"reconstructor": {"min_psnr": 47}})
    with pytest.raises(Failure, match=r"to 46\.9 dB; wanted 47"):
        ImageGraph(strict, RECONSTRUCTOR, threads=1).check_golden()


def test_a_server_whose_golden_images_come_out_otherwise_ends(tmp_path, kit):
    model = onnx.load_from_string(kit.drawing(None))
    table = onnx.numpy_helper.to_array(model.graph.initializer[0])[:, ::-1].copy()
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(table, "table"))
    bundle = kit.make_bundle(tmp_path / "b", others={FILE: model.SerializeToString()})
    with kit.running(bundle, ready=False) as client:
        assert kit.error(client.get(f"/v2/models/{NAME}/ready"), 503)
        client.engine.gate.set()
        kit.wait_until(lambda: client.server.failure is not None)
    assert "bundle tiny rebuilds a golden image to" in str(client.server.failure)


def test_the_same_limits_hold(drawn, kit):
    with kit.running(drawn, Limits(pixels=4000, json_values=100)) as client:
        message = kit.error(client.post(INFER, **binary(labels(3, 30, 50))), 413)
        assert "4500 pixels together; at most 4000" in message
        as_json = {"name": "labels", "shape": [1, 8, 8], "datatype": "UINT8", "data": [0] * 64}
        message = kit.error(client.post(INFER, json={"inputs": [as_json]}), 400)
        assert "192 numbers as JSON; at most 100" in message
        message = kit.error(client.post(INFER, **binary(labels(1, 7, 8))), 400)
        assert "takes label maps from 8x8" in message
        assert client.post(INFER, **binary(labels(1, 8, 8))).status_code == 200


def test_each_model_has_its_own_line_before_one_device(drawn, kit):
    with kit.running(drawn, Limits(waiting=1)) as client, ThreadPoolExecutor(3) as pool:
        client.engine.gate.clear()
        client.engine.entered.clear()
        segmenting = pool.submit(client.post, kit.INFER, **kit.binary(kit.random_image(1)[None]))
        assert client.engine.entered.wait(5)
        late = client.post(INFER, **binary(labels(1, 8, 8), parameters={"timeout": 50_000}))
        assert "timeout passed before its turn came" in kit.error(late, 504)
        line = client.server.service.models[NAME].line
        drawing = [pool.submit(client.post, INFER, **binary(labels(1, 8, 8))) for _ in range(2)]
        kit.wait_until(lambda: line.taken == 2)
        kit.error(client.post(INFER, **binary(labels(1, 8, 8))), 429)
        assert client.taken == 1
        client.engine.gate.set()
        assert {each.result().status_code for each in (segmenting, *drawing)} == {200}


def test_names(client, tiny, kit):
    known = "this server has 'tiny', 'tiny-reconstructor'"
    assert known in kit.error(client.get("/v2/models/other"), 404)
    assert "unknown version" in kit.error(client.get(f"/v2/models/{NAME}/versions/2"), 404)
    message = kit.error(client.post(INFER, **kit.binary(kit.random_image(1)[None])), 400)
    assert "wanted labels" in message
    assert f"/v2/models/{NAME}" in client.get("/").text
    with kit.running(tiny) as alone:
        assert kit.error(alone.get(f"/v2/models/{NAME}"), 404).endswith("this server has 'tiny'")
        assert NAME not in alone.get("/").text
