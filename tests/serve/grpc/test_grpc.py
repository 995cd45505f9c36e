"""NVIDIA's own gRPC clients, unmodified, against a real server."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from unittest.mock import Mock

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from grpc.aio import _server as aio_server
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from roadshift import Failure, UserError
from serve.cli.serve import serve
from serve.grpc.server import grpc_on
from serve.limits import Limits


@contextmanager
def both(bundle, kit, limits=None, **more):
    """A server of both protocols: its HTTP client, and its address over gRPC."""
    ports = []
    face = grpc_on("127.0.0.1", 0, ports.append)
    with kit.running(bundle, limits, beside=face, **more) as client:
        yield client, f"127.0.0.1:{ports[0]}"


@pytest.fixture(scope="module")
def server(tiny, kit):
    with both(tiny, kit) as found:
        yield found


@pytest.fixture
def remote(server):
    with triton.InferenceServerClient(server[1]) as remote:
        yield remote


def given(image):
    tensor = triton.InferInput("image", list(image.shape), "UINT8")
    tensor.set_data_from_numpy(image)
    return [tensor]


def refused(call, code):
    with pytest.raises(InferenceServerException) as caught:
        call()
    assert caught.value.status() == f"StatusCode.{code}", caught.value
    return caught.value.message()


def test_health_metadata_config_index_and_statistics(remote, kit):
    assert remote.is_server_live()
    assert remote.is_server_ready()
    assert remote.is_model_ready("tiny")
    assert remote.is_model_ready("tiny", "1")
    assert remote.get_server_metadata().name == "roadshift"
    metadata = remote.get_model_metadata("tiny", as_json=True)
    assert metadata["inputs"][0] == {
        "name": "image",
        "datatype": "UINT8",
        "shape": ["-1", "-1", "-1", "3"],
    }
    config = remote.get_model_config("tiny", as_json=True)["config"]
    assert config["input"][0]["data_type"] == "TYPE_UINT8"
    index = remote.get_model_repository_index()
    assert [(model.name, model.state) for model in index.models] == [("tiny", "READY")]
    before = remote.get_inference_statistics("tiny").model_stats[0].inference_count
    remote.infer("tiny", given(kit.random_image(1)[None]))
    after = remote.get_inference_statistics().model_stats[0]
    assert after.inference_count == before + 1
    assert after.inference_stats.compute_infer.ns > 0


@pytest.mark.parametrize("batch", [1, 3])
def test_infer(remote, server, kit, batch):
    images = np.stack([kit.random_image(seed) for seed in range(batch)])
    wanted = [triton.InferRequestedOutput(name) for name in ("confidence", "labels")]
    answer = remote.infer("tiny", given(images), outputs=wanted, request_id="r7")
    assert answer.get_response().id == "r7"
    assert [output.name for output in answer.get_response().outputs] == ["confidence", "labels"]
    assert np.array_equal(answer.as_numpy("labels"), kit.true_labels(images))
    digest = answer.get_response().parameters["bundle_digest"].string_param
    assert digest == server[0].engine.bundle.digest
    sure = server[0].engine.segment(images, confidence=True).confidence
    assert np.array_equal(answer.as_numpy("confidence"), sure)


def test_a_full_frame_fits(remote, kit):
    """6.3 MB: gRPC's own limit is 4."""
    image = kit.random_image(1, 1024, 2048)
    wanted = [triton.InferRequestedOutput("labels")]
    answer = remote.infer("tiny", given(image[None]), outputs=wanted)
    assert np.array_equal(answer.as_numpy("labels")[0], kit.true_labels(image))


def test_the_aio_client(server, kit):
    async def run():
        async with triton_aio.InferenceServerClient(server[1]) as remote:
            images = [kit.random_image(seed)[None] for seed in range(4)]
            answers = await asyncio.gather(
                *(remote.infer("tiny", given(image)) for image in images)
            )
            return images, answers

    images, answers = asyncio.run(run())
    for image, answer in zip(images, answers, strict=True):
        assert np.array_equal(answer.as_numpy("labels"), kit.true_labels(image))


def test_numbers_in_the_message(server, kit):
    """The protocol also knows contents that are not raw."""
    image = kit.random_image(1, 8, 9)
    with grpc.insecure_channel(server[1]) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        request = service_pb2.ModelInferRequest(model_name="tiny")
        tensor = request.inputs.add(name="image", datatype="UINT8", shape=[1, 8, 9, 3])
        tensor.contents.uint_contents.extend(image.ravel().tolist())
        request.outputs.add(name="labels")
        answer = stub.ModelInfer(request)
        labels = np.frombuffer(answer.raw_output_contents[0], np.uint8).reshape(8, 9)
        assert np.array_equal(labels, kit.true_labels(image))
        tensor.contents.uint_contents[0] = 256
        with pytest.raises(grpc.RpcError, match="outside the range of UINT8"):
            stub.ModelInfer(request)
        request.raw_input_contents.extend([b"", b""])
        with pytest.raises(grpc.RpcError, match="has 2 tensors and inputs 1"):
            stub.ModelInfer(request)


def test_wrong_requests(remote, kit):
    image = kit.random_image(1)[None]
    assert "unknown model 'other'" in refused(
        lambda: remote.infer("other", given(image)), "NOT_FOUND"
    )
    assert "unknown version" in refused(lambda: remote.get_model_metadata("tiny", "2"), "NOT_FOUND")
    wrong = triton.InferInput("image", [1, 8, 8, 3], "FP32")
    wrong.set_data_from_numpy(np.zeros((1, 8, 8, 3), np.float32))
    assert "wanted UINT8" in refused(lambda: remote.infer("tiny", [wrong]), "INVALID_ARGUMENT")
    output = [triton.InferRequestedOutput("depth")]
    assert "this model gives" in refused(
        lambda: remote.infer("tiny", given(image), outputs=output), "INVALID_ARGUMENT"
    )
    small = np.zeros((1, 7, 7, 3), np.uint8)
    assert "from 8x8" in refused(lambda: remote.infer("tiny", given(small)), "INVALID_ARGUMENT")
    refused(lambda: remote.load_model("tiny"), "PERMISSION_DENIED")


def test_limits(tiny, kit):
    limits = Limits(body_bytes=1 << 20, pixels=4000, all_bodies_bytes=200_000)
    with both(tiny, kit, limits) as (_, address), triton.InferenceServerClient(address) as remote:
        for size, code, wrong in (
            ((1000, 1000), "RESOURCE_EXHAUSTED", "larger than max"),
            ((300, 300), "RESOURCE_EXHAUSTED", "try again later"),
            ((40, 101), "INVALID_ARGUMENT", "4040 pixels together; at most 4000"),
        ):
            image = np.zeros((1, *size, 3), np.uint8)
            assert wrong in refused(lambda image=image: remote.infer("tiny", given(image)), code)
        assert remote.infer("tiny", given(np.zeros((1, 40, 100, 3), np.uint8)))


def test_failures_say_no_path(remote, server, kit, monkeypatch, caplog):
    def fails(*_):
        raise Failure("/secret/place is full")

    def breaks(*_):
        raise ValueError("/secret/bug")

    for broken, said in ((fails, "the engine failed"), (breaks, "internal error")):
        monkeypatch.setattr(server[0].engine, "run", broken)
        message = refused(
            lambda: remote.infer("tiny", given(kit.random_image(1)[None])), "INTERNAL"
        )
        assert message.startswith(said)
        assert "secret" not in message
    assert "/secret/place" in caplog.text
    assert "/secret/bug" in caplog.text


@contextmanager
def held(tiny, kit, **limits):
    """A server whose engine is held up by a first request over HTTP."""
    with (
        both(tiny, kit, Limits(**limits)) as (client, address),
        ThreadPoolExecutor(2) as pool,
        triton.InferenceServerClient(address) as remote,
    ):
        client.engine.gate.clear()
        client.engine.entered.clear()
        image = kit.random_image(1)[None]
        first = pool.submit(client.post, kit.INFER, **kit.binary(image))
        assert client.engine.entered.wait(5)
        yield client, remote, given(image)
        client.engine.gate.set()
        assert first.result().status_code == 200


def test_http_and_grpc_wait_in_one_line(tiny, kit):
    with held(tiny, kit, waiting=0) as (_, remote, image):
        message = refused(lambda: remote.infer("tiny", image), "RESOURCE_EXHAUSTED")
        assert "1 requests are being worked on or waiting" in message


@pytest.mark.parametrize("how", [{"timeout": 50_000}, {"client_timeout": 0.05}])
def test_deadlines(tiny, kit, how):
    with held(tiny, kit) as (client, remote, image):
        runs = client.engine.runs
        message = refused(lambda: remote.infer("tiny", image, **how), "DEADLINE_EXCEEDED")
        assert "client_timeout" in how or "before its turn came" in message
        kit.wait_until(lambda: client.taken == 1)
        assert client.engine.runs == runs


def test_a_cancelled_call_leaves_the_line(tiny, kit):
    with held(tiny, kit) as (client, remote, image):
        told = Mock()
        call = remote.async_infer("tiny", image, told)
        kit.wait_until(lambda: client.taken == 2)
        call.cancel()
        kit.wait_until(lambda: told.called)
        assert told.call_args.kwargs["error"].status() == "StatusCode.CANCELLED"
        kit.wait_until(lambda: client.taken == 1)
        cancelled = client.server.service.segmentor.metrics.tallies.cancel
        kit.wait_until(lambda: cancelled.count == 1)


def test_not_ready(tiny, kit):
    with (
        both(tiny, kit, ready=False) as (client, address),
        triton.InferenceServerClient(address) as remote,
    ):
        assert remote.is_server_live()
        assert not remote.is_server_ready()
        assert not remote.is_model_ready("tiny")
        image = given(kit.random_image(1)[None])
        assert "not ready" in refused(lambda: remote.infer("tiny", image), "UNAVAILABLE")
        client.engine.gate.set()
        kit.wait_until(remote.is_server_ready)


def test_what_is_under_way_is_answered_when_the_server_stops(tiny, kit):
    with held(tiny, kit) as (client, remote, image), ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(remote.infer, "tiny", image)
        kit.wait_until(lambda: client.taken == 2)
        client.server.uvicorn.should_exit = True
        kit.wait_until(lambda: not remote.is_server_ready())
        assert "the server stops" in refused(lambda: remote.infer("tiny", image), "UNAVAILABLE")
        client.engine.gate.set()
        assert under_way.result().as_numpy("labels").shape == (1, 32, 48)


def test_a_taken_port_ends_the_server(tiny):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        wrong = f"cannot listen for gRPC on 127.0.0.1:{port}: choose another --grpc-port"
        with pytest.raises(UserError, match=wrong):
            serve((tiny.folder,), port=0, grpc_port=port)


def test_a_port_out_of_range(tiny):
    with pytest.raises(UserError, match=r"--grpc-port is 65536: wanted 0 .* to 65535"):
        serve((tiny.folder,), port=0, grpc_port=65536)


def test_both_protocols_have_one_grace_period(tiny, kit, monkeypatch):
    """Not one after the other: what outlasts it is told so over both."""
    graces, real = [], aio_server.Server.stop

    def stop(server, grace):
        graces.append(grace)
        return real(server, grace)

    monkeypatch.setattr(aio_server.Server, "stop", stop)
    with held_twice(tiny, kit, grace_seconds=1) as (client, over_http, over_grpc):
        client.server.uvicorn.should_exit = True
        assert over_http.result().status_code == 503
        refused(over_grpc.result, "UNAVAILABLE")
    assert graces == [0]


@contextmanager
def held_twice(tiny, kit, **limits):
    """A server with a request over each protocol, of which none gets on."""
    with (
        both(tiny, kit, Limits(**limits)) as (client, address),
        ThreadPoolExecutor(2) as pool,
        triton.InferenceServerClient(address) as remote,
    ):
        client.engine.gate.clear()
        client.engine.entered.clear()
        image = kit.random_image(1)[None]
        over_http = pool.submit(client.post, kit.INFER, **kit.binary(image))
        assert client.engine.entered.wait(5)
        over_grpc = pool.submit(remote.infer, "tiny", given(image))
        kit.wait_until(lambda: client.taken == 2)
        yield client, over_http, over_grpc
        client.engine.gate.set()
