"""NVIDIA's own client, unmodified, against a real server."""

import asyncio
import json

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

from serve.runtime.engine import Engine


@pytest.fixture
def remote(client):
    remote = triton.InferenceServerClient(client.address)
    yield remote
    remote.close()


def given(image, *, binary=True):
    tensor = triton.InferInput("image", list(image.shape), "UINT8")
    tensor.set_data_from_numpy(image, binary_data=binary)
    return [tensor]


def asked(*names, binary=True):
    return [triton.InferRequestedOutput(name, binary_data=binary) for name in names]


def test_health_and_metadata(remote):
    assert remote.is_server_live()
    assert remote.is_server_ready()
    assert remote.is_model_ready("tiny")
    assert remote.is_model_ready("tiny", "1")
    assert not remote.is_model_ready("tin")
    assert not remote.is_model_ready("tiny", "2")
    server = remote.get_server_metadata()
    assert server["name"] == "roadshift"
    assert "binary_tensor_data" in server["extensions"]
    for version in ("", "1"):
        assert remote.get_model_metadata("tiny", version) == {
            "name": "tiny",
            "versions": ["1"],
            "platform": "onnx_onnxv1",
            "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}],
            "outputs": [
                {"name": "labels", "datatype": "UINT8", "shape": [-1, -1, -1]},
                {"name": "confidence", "datatype": "UINT8", "shape": [-1, -1, -1]},
                {"name": "logits", "datatype": "FP32", "shape": [-1, 4, -1, -1]},
            ],
            "parameters": {"precision": "fp32", "provider": "cpu", "route": "dense"},
        }


def test_config_index_and_statistics(remote, kit):
    config = remote.get_model_config("tiny")
    assert config["input"] == [
        {"name": "image", "data_type": "TYPE_UINT8", "dims": [-1, -1, -1, 3]}
    ]
    parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
    assert json.loads(parameters.pop("classes")) == list(kit.classes)
    assert len(json.loads(parameters.pop("palette"))) == len(kit.classes)
    assert parameters == {"precision": "fp32", "provider": "cpu", "route": "dense"}
    assert remote.get_model_repository_index() == [
        {"name": "tiny", "version": "1", "state": "READY", "reason": ""}
    ]

    def count():
        stats = remote.get_inference_statistics("tiny")["model_stats"][0]
        assert remote.get_inference_statistics()["model_stats"][0]["name"] == "tiny"
        return stats["inference_count"], stats["inference_stats"]["fail"]["count"]

    before = count()
    remote.infer("tiny", given(kit.random_image(1)[None]))
    with pytest.raises(InferenceServerException):
        remote.infer("tiny", given(kit.random_image(1, 4, 4)[None]))
    assert count() == (before[0] + 1, before[1] + 1)


@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("binary_in", [True, False])
def test_infer(remote, tiny, kit, binary_in, binary_out):
    images = np.stack([kit.random_image(1), kit.random_image(2)])
    outputs = asked("labels", "confidence", "logits", binary=binary_out)
    result = remote.infer("tiny", given(images, binary=binary_in), outputs=outputs, request_id="q7")
    truth = Engine(tiny, threads=1).run(images, ["labels", "confidence", "logits"])
    for name, values in truth.items():
        got = result.as_numpy(name)
        assert got.dtype == values.dtype
        assert np.array_equal(got, values), name
    assert np.array_equal(truth["labels"], kit.true_labels(images))
    assert result.get_response()["id"] == "q7"
    assert result.get_response()["model_version"] == "1"


def test_all_outputs_when_none_is_named(remote, kit):
    result = remote.infer("tiny", given(kit.random_image(1)[None]), model_version="1")
    names = [output["name"] for output in result.get_response()["outputs"]]
    assert names == ["labels", "confidence", "logits"]
    assert result.as_numpy("logits").shape == (1, 4, 8, 12)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compression(remote, kit, encoding):
    image = kit.random_image(3)
    result = remote.infer(
        "tiny",
        given(image[None]),
        outputs=asked("labels"),
        request_compression_algorithm=encoding,
        response_compression_algorithm=encoding,
    )
    assert np.array_equal(result.as_numpy("labels")[0], kit.true_labels(image))


def test_the_golden_image_is_answered_as_by_the_engine_and_by_torch(remote, tiny):
    image, labels, *_ = tiny.golden()[0]
    answer = remote.infer("tiny", given(image[None]), outputs=asked("labels")).as_numpy("labels")
    assert np.array_equal(answer, Engine(tiny, threads=1).segment(image[None]).labels)
    assert np.array_equal(answer[0], labels)


def test_errors_reach_the_client_as_text(remote, kit):
    image = given(kit.random_image(1)[None])
    for name, version, wrong in (
        ("tin", "", r"\[404\] unknown model 'tin': this server has 'tiny'"),
        ("../tiny", "", r"\[404\]"),
        ("tiny", "2", r"\[404\] unknown version '2' of 'tiny': there is '1'"),
    ):
        with pytest.raises(InferenceServerException, match=wrong):
            remote.infer(name, image, model_version=version)
    with pytest.raises(
        InferenceServerException, match=r"\[400\] this bundle takes images from 8x8"
    ):
        remote.infer("tiny", given(kit.random_image(1, 7, 9)[None]))
    with pytest.raises(InferenceServerException, match=r'\[400\] unknown or repeated output "x"'):
        remote.infer("tiny", image, outputs=asked("x"))


def test_a_reconstructor_is_a_second_model(drawn, kit):
    """Segment, then draw what was seen: the labels go out as they came in."""
    with kit.running(drawn) as client, triton.InferenceServerClient(client.address) as remote:
        name = "tiny-reconstructor"
        assert remote.is_model_ready(name)
        assert remote.is_model_ready(name, "1")
        assert remote.get_model_metadata(name) == {
            "name": name,
            "versions": ["1"],
            "platform": "onnx_onnxv1",
            "inputs": [{"name": "labels", "datatype": "UINT8", "shape": [-1, -1, -1]}],
            "outputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}],
            "parameters": {"precision": "fp32", "provider": "cpu"},
        }
        config = remote.get_model_config(name)
        assert (config["name"], config["input"][0]["name"]) == (name, "labels")
        assert [(m["name"], m["state"]) for m in remote.get_model_repository_index()] == [
            ("tiny", "READY"),
            (name, "READY"),
        ]
        images = np.stack([kit.random_image(1), kit.random_image(2)])
        labels = remote.infer("tiny", given(images), outputs=asked("labels")).as_numpy("labels")
        tensor = triton.InferInput("labels", list(labels.shape), "UINT8")
        tensor.set_data_from_numpy(labels)
        rebuilt = remote.infer(name, [tensor]).as_numpy("image")
        assert rebuilt.shape == images.shape
        assert rebuilt.dtype == np.uint8
        assert np.array_equal(rebuilt, kit.true_image(kit.true_labels(images)))
        everything = remote.get_inference_statistics()["model_stats"]
        assert [(m["name"], m["inference_count"]) for m in everything] == [("tiny", 2), (name, 2)]
        alone = remote.get_inference_statistics(name)["model_stats"]
        assert [m["inference_stats"]["success"]["count"] for m in alone] == [1]


def test_a_fixed_size_is_told_and_kept(fixed, kit):
    with kit.running(fixed) as client:
        remote = triton.InferenceServerClient(client.address)
        shape = remote.get_model_metadata("tiny")["inputs"][0]["shape"]
        assert shape == [-1, 16, 24, 3]
        with pytest.raises(InferenceServerException, match=r"wanted \[-1, 16, 24, 3\]"):
            remote.infer("tiny", given(kit.random_image(1)[None]))
        remote.close()


def test_the_aio_client(client, kit):
    images = [kit.random_image(seed)[None] for seed in range(4)]

    async def run():
        async with triton_aio.InferenceServerClient(client.address) as remote:
            assert await remote.is_model_ready("tiny")
            asked_for = (remote.infer("tiny", given(image)) for image in images)
            return await asyncio.gather(*asked_for)

    for image, answer in zip(images, asyncio.run(run()), strict=True):
        assert np.array_equal(answer.as_numpy("labels"), kit.true_labels(image))
