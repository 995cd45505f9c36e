import json

import numpy as np
import pytest

from serve.limits import Limits, Refusal
from serve.models.model_spec import ModelSpec
from serve.protocol.inference_protocol import encode_response, parse_request
from serve.runtime.graph import TensorSpec

MODEL = ModelSpec(
    "tiny",
    "1",
    (TensorSpec("image", "UINT8", (-1, -1, -1, 3)),),
    (TensorSpec("labels", "UINT8", (-1, -1, -1)), TensorSpec("logits", "FP32", (-1, 4, -1, -1))),
    "the digest",
)
IMAGE = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)


def tensor(**changes):
    base = {"name": "image", "shape": [1, 2, 2, 3], "datatype": "UINT8"}
    return {k: v for k, v in {**base, **changes}.items() if v is not None}


def parse(document, tail=b"", *, model=MODEL, limits=None):
    head = document if isinstance(document, bytes) else json.dumps(document).encode()
    length = len(head) if tail else None
    return parse_request(head + tail, length, model, limits or Limits())


def refused(*args, status=400, **kwargs):
    with pytest.raises(Refusal) as caught:
        parse(*args, **kwargs)
    assert caught.value.status == status
    return str(caught.value)


def binary(size=12, **changes):
    return {"inputs": [tensor(parameters={"binary_data_size": size}, **changes)]}


def test_json_nested_and_flat():
    for data in (IMAGE.tolist(), IMAGE.ravel().tolist()):
        request = parse({"id": "7", "inputs": [tensor(data=data)]})
        assert request.id == "7"
        assert request.timeout is None
        assert request.inputs["image"].dtype == np.uint8
        assert np.array_equal(request.inputs["image"], IMAGE)
        assert request.outputs == (("labels", False), ("logits", False))


def test_binary_is_not_copied():
    body = IMAGE.tobytes()
    request = parse(binary(), body)
    assert np.array_equal(request.inputs["image"], IMAGE)
    assert not request.inputs["image"].flags.owndata


def test_which_outputs_and_how():
    default = {"binary_data_output": True}
    asked = [{"name": "logits"}, {"name": "labels", "parameters": {"binary_data": False}}]
    document = {**binary(), "parameters": default}
    assert parse(document, IMAGE.tobytes()).outputs == (("labels", True), ("logits", True))
    document["outputs"] = asked
    assert parse(document, IMAGE.tobytes()).outputs == (("logits", True), ("labels", False))


def test_timeout_is_in_microseconds():
    assert parse({**binary(), "parameters": {"timeout": 2500}}, IMAGE.tobytes()).timeout == 0.0025
    assert parse({**binary(), "parameters": {"timeout": 0}}, IMAGE.tobytes()).timeout is None
    for wrong in (-1, 0.5, "5", True, 10**400):
        document = {**binary(), "parameters": {"timeout": wrong}}
        assert "whole number of microseconds" in refused(document, IMAGE.tobytes())


def test_raw_mode_needs_a_known_shape():
    with pytest.raises(Refusal, match="says no shape"):
        parse_request(IMAGE.tobytes(), 0, MODEL, Limits())
    fixed = MODEL._replace(inputs=(TensorSpec("image", "UINT8", (-1, 2, 2, 3)),))
    request = parse_request(IMAGE.tobytes(), 0, fixed, Limits())
    assert np.array_equal(request.inputs["image"], IMAGE)
    assert request.outputs == (("labels", True), ("logits", True))
    with pytest.raises(Refusal, match="has 11 bytes; wanted 12"):
        parse_request(IMAGE.tobytes()[:-1], 0, fixed, Limits())


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"name": "img"}, 'unknown or repeated input "img": wanted image'),
        ({"name": None}, "unknown or repeated input null"),
        ({"datatype": "FP32"}, 'datatype "FP32"; wanted UINT8'),
        ({"shape": [1, 2, 2]}, "has shape [1, 2, 2]; wanted [-1, -1, -1, 3]"),
        ({"shape": [1, 2, 2, 4]}, "has shape [1, 2, 2, 4]; wanted"),
        ({"shape": [0, 2, 2, 3]}, "has shape [0, 2, 2, 3]; wanted"),
        ({"shape": [-1, 2, 2, 3]}, "has shape [-1, 2, 2, 3]; wanted"),
        ({"shape": [True, 2, 2, 3]}, "has shape [true, 2, 2, 3]; wanted"),
        ({"shape": [1, 2, 2.0, 3]}, "has shape [1, 2, 2.0, 3]; wanted"),
        ({"shape": "1,2,2,3"}, 'has shape "1,2,2,3"; wanted'),
        ({"shape": [1, 2, 3, 3]}, "has 12 bytes; wanted 18"),
        ({"shape": [2147483647, 2147483647, 2147483647, 3]}, "has 12 bytes; wanted 2971"),
        ({"data": [1]}, "stands beside 'data'"),
    ],
)
def test_wrong_tensors(changes, wrong):
    assert wrong in refused(binary(**changes), IMAGE.tobytes())


@pytest.mark.parametrize("size", [11, 13, -1, "12", True, 1e1])
def test_wrong_binary_sizes(size):
    message = refused(binary(size), IMAGE.tobytes())
    assert "binary_data_size" in message or "has 11 bytes; wanted 12" in message


def test_bytes_that_belong_to_nothing():
    assert "1 bytes behind the last" in refused(binary(), IMAGE.tobytes() + b"x")


@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        (None, "wanted a JSON list that is not empty, got null"),
        ([], "not empty, got []"),
        ([1, 2], "'data' has shape [2]; wanted [1, 2, 2, 3], nested or flat"),
        ([[1] * 6, [1] * 6], "'data' has shape [2, 6]"),
        ([[1, 2], [3]], "ragged"),
        ([256] * 12, "outside the range of UINT8"),
        ([-1] * 12, "outside the range of UINT8"),
        ([1.5] * 12, "does not hold values of datatype UINT8"),
        (["1"] * 12, "does not hold values of datatype UINT8"),
        ([True] * 12, "does not hold values of datatype UINT8"),
        ([10**30] * 12, "does not hold values of datatype UINT8"),
    ],
)
def test_wrong_json_data(data, wrong):
    assert wrong in refused({"inputs": [tensor(data=data)]})


@pytest.mark.parametrize(
    ("document", "wrong"),
    [
        (b"{", "the request is not JSON"),
        (b"\xff\xfe", "the request is not JSON"),
        (b"[" * 100_000, "the request is not JSON"),
        (b'{"inputs": [NaN]}', "holds NaN, which is not JSON"),
        (b"[]", "the request: wanted a JSON object, got []"),
        ({}, "inputs: wanted a JSON list that is not empty, got null"),
        ({"inputs": [5]}, "an input: wanted a JSON object, got 5"),
        ({"inputs": [5], "id": 5}, "the id is not a string"),
        ({"inputs": [5], "parameters": []}, "parameters: wanted a JSON object"),
        ({"inputs": [tensor(data=[1] * 12, parameters=3)]}, "an input's parameters: wanted"),
        ({"inputs": [tensor(data=[1] * 12)] * 2}, "unknown or repeated input"),
    ],
)
def test_wrong_documents(document, wrong):
    assert wrong in refused(document)


@pytest.mark.parametrize(
    ("outputs", "wrong"),
    [
        ([{"name": "depth"}], 'unknown or repeated output "depth": this model gives labels, log'),
        ([{"name": "labels"}] * 2, "unknown or repeated output"),
        ([7], "an output: wanted a JSON object"),
        ({"name": "labels"}, "outputs: wanted a JSON list"),
        ([{"name": "labels", "parameters": {"classification": 3}}], "classification is not supp"),
        ([{"name": "labels", "parameters": {"binary_data": 1}}], "binary_data is 1; wanted true"),
    ],
)
def test_wrong_outputs(outputs, wrong):
    assert wrong in refused({**binary(), "outputs": outputs}, IMAGE.tobytes())


def test_a_model_of_two_inputs_wants_both():
    two = MODEL._replace(inputs=(*MODEL.inputs, TensorSpec("depth", "FP32", (-1,))))
    assert "lacks the input depth" in refused(binary(), IMAGE.tobytes(), model=two)


def test_header_length_and_json_limit():
    for length in (-1, 99):
        with pytest.raises(Refusal, match=rf"is {length} and the body has 2"):
            parse_request(b"{}", length, MODEL, Limits())
    message = refused(b" " * 101, status=413, limits=Limits(json_bytes=100))
    assert "101 bytes; at most 100 are read: send the tensor as binary data" in message


def wanted(*pairs):
    request = parse(binary(), IMAGE.tobytes())
    kind = type(request.outputs[0])
    return request._replace(id="a", outputs=tuple(kind(*pair) for pair in pairs))


TENSORS = {
    "labels": np.array([[[1, 2]]], np.uint8),
    "logits": np.array([[[[0.5]]]], np.float32),
}


def test_response_with_binary_tensors():
    body, length = encode_response(MODEL, wanted(("logits", True), ("labels", True)), TENSORS, 0)
    document = json.loads(body[:length])
    assert body[length:] == TENSORS["logits"].tobytes() + b"\x01\x02"
    assert document == {
        "parameters": {"bundle_digest": "the digest"},
        "model_name": "tiny",
        "model_version": "1",
        "id": "a",
        "outputs": [
            {
                "name": "logits",
                "datatype": "FP32",
                "shape": [1, 1, 1, 1],
                "parameters": {"binary_data_size": 4},
            },
            {
                "name": "labels",
                "datatype": "UINT8",
                "shape": [1, 1, 2],
                "parameters": {"binary_data_size": 2},
            },
        ],
    }


def test_response_in_json():
    body, length = encode_response(MODEL, wanted(("labels", False)), TENSORS, 2)
    assert length is None
    assert json.loads(body)["outputs"][0]["data"] == [1, 2]
    with pytest.raises(Refusal, match="has 2 numbers as JSON; at most 1 are sent"):
        encode_response(MODEL, wanted(("labels", False)), TENSORS, 1)
