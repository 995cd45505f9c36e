"""One address cannot take every place: real clients, from 127.0.0.1 and from ::1."""

import socket
import threading
from contextlib import contextmanager
from unittest.mock import Mock

import grpc
import pytest
import tritonclient.grpc as triton
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.utils import InferenceServerException

from serve.grpc.address_interceptor import AddressInterceptor
from serve.grpc.server import grpc_on
from serve.limits import Limits

PATH = "/inference.GRPCInferenceService/ModelInfer"
WANTED = "this address has 2 calls under way"


@pytest.fixture
def under_way(monkeypatch):
    """How many calls are under way, of all addresses."""
    made = []

    def record(most):
        made.append(AddressInterceptor(most))
        return made[0]

    monkeypatch.setattr("serve.grpc.server.AddressInterceptor", record)

    def total() -> int:
        return made[0]._under_way.total()

    return total


@pytest.fixture
def two_addresses(tiny, kit, under_way):
    """A server that gives each address two calls; its HTTP client, and how it is reached twice."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("needs IPv6")
    ports = []
    face = grpc_on("::", 0, ports.append)
    with (
        kit.running(tiny, Limits(address_connections=2), beside=face) as client,
        grpc.insecure_channel(f"127.0.0.1:{ports[0]}") as channel,
        triton.InferenceServerClient(f"127.0.0.1:{ports[0]}") as one,
        triton.InferenceServerClient(f"[::1]:{ports[0]}") as other,
    ):
        yield client, channel, one, other


@contextmanager
def refused_beside(kit, one, other, under_way):
    """Inside, the one address is refused, and the other is not; afterwards neither is.

    Its two calls must be under way by themselves: a question beside them would take their place.
    """
    kit.wait_until(lambda: under_way() == 2)

    def is_refused():
        try:
            one.get_server_metadata()
        except InferenceServerException as error:
            assert error.status() == "StatusCode.RESOURCE_EXHAUSTED", error
            assert WANTED in error.message()
            return True
        return False

    assert is_refused()
    assert other.is_server_ready()
    yield
    kit.wait_until(lambda: not is_refused())


def test_requests_that_wait(two_addresses, kit, under_way):
    client, _, one, other = two_addresses
    image = kit.random_image(1)[None]
    tensor = triton.InferInput("image", list(image.shape), "UINT8")
    tensor.set_data_from_numpy(image)
    client.engine.gate.clear()
    told = [Mock(), Mock()]
    for each in told:
        one.async_infer("tiny", [tensor], each)
    with refused_beside(kit, one, other, under_way):
        assert client.taken == 2
        client.engine.gate.set()
        kit.wait_until(lambda: all(each.called for each in told))
    for each in told:
        labels = each.call_args.kwargs["result"].as_numpy("labels")
        assert (labels == kit.true_labels(image)).all()


def test_requests_whose_message_does_not_come(two_addresses, kit, under_way):
    _, channel, one, other = two_addresses
    never = threading.Event()

    def nothing():
        never.wait(20)
        yield b""

    calls = [channel.stream_unary(PATH).future(nothing()) for _ in range(2)]
    with refused_beside(kit, one, other, under_way):
        for call in calls:
            call.cancel()
        never.set()


def test_watches_of_health(two_addresses, kit, under_way):
    _, channel, one, other = two_addresses
    watch = health_pb2_grpc.HealthStub(channel).Watch
    watches = [watch(health_pb2.HealthCheckRequest(), timeout=20) for _ in range(2)]
    for each in watches:
        assert next(each).status == health_pb2.HealthCheckResponse.SERVING
    with refused_beside(kit, one, other, under_way):
        with pytest.raises(grpc.RpcError, match=WANTED):
            next(watch(health_pb2.HealthCheckRequest(), timeout=20))
        for each in watches:
            each.cancel()


def test_a_call_without_a_message(two_addresses):
    _, channel, _, _ = two_addresses
    with pytest.raises(grpc.RpcError) as caught:
        channel.stream_unary(PATH)(iter(()))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "has no message" in caught.value.details()
