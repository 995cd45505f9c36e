"""The health and reflection services, asked by their own clients."""

from contextlib import contextmanager

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from serve.grpc.server import grpc_on

SERVING, NOT_SERVING = (
    health_pb2.HealthCheckResponse.SERVING,
    health_pb2.HealthCheckResponse.NOT_SERVING,
)
PROTOCOL = "inference.GRPCInferenceService"


@contextmanager
def channel_of(tiny, kit, **more):
    ports = []
    with (
        kit.running(tiny, beside=grpc_on("127.0.0.1", 0, ports.append), **more) as client,
        grpc.insecure_channel(f"127.0.0.1:{ports[0]}") as channel,
    ):
        yield client, channel


def test_health_follows_readiness(tiny, kit):
    with channel_of(tiny, kit, ready=False) as (client, channel):
        stub = health_pb2_grpc.HealthStub(channel)

        def status(name):
            return stub.Check(health_pb2.HealthCheckRequest(service=name)).status

        assert {status(""), status(PROTOCOL)} == {NOT_SERVING}
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=PROTOCOL), timeout=10)
        assert next(watch).status == NOT_SERVING
        client.engine.gate.set()
        assert next(watch).status == SERVING
        assert {status(""), status(PROTOCOL)} == {SERVING}
        with pytest.raises(grpc.RpcError) as caught:
            status("other")
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        client.server.uvicorn.should_exit = True
        assert next(watch).status == NOT_SERVING
        watch.cancel()


def test_reflection_tells_the_services_and_their_messages(tiny, kit):
    with channel_of(tiny, kit) as (_, channel):
        told = ProtoReflectionDescriptorDatabase(channel)
        services = set(told.get_services())
        assert services == {
            PROTOCOL,
            "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection",
        }
        service = DescriptorPool(told).FindServiceByName(PROTOCOL)
        assert service.methods_by_name["ModelInfer"].input_type.name == "ModelInferRequest"
