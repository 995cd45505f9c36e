"""The gRPC server, on an address of its own, open as long as the HTTP server beside it."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import grpc
from grpc_reflection.v1alpha import reflection
from tritonclient.grpc import service_pb2_grpc

from roadshift import UserError
from serve.grpc.address_interceptor import AddressInterceptor
from serve.grpc.health import HEALTH, PROTOCOL, add_health
from serve.grpc.key_interceptor import KeyInterceptor
from serve.grpc.servicer import Servicer
from serve.models.api_keys import ApiKeys
from serve.models.service import Service

log = logging.getLogger(__name__)
_MESSAGE_EXTRA = 1 << 20
"""What a message has beside its tensors, at most."""


def grpc_on(
    host: str,
    port: int,
    told: Callable[[int], None] = lambda _: None,
    keys: ApiKeys | None = None,
    *,
    shared: bool = False,
    inner: Sequence[grpc.aio.ServerInterceptor] = (),
) -> Callable[[Service], AbstractAsyncContextManager[None]]:
    """A gRPC server for a service, on `host`; `told` gets the port (0 takes a free one).

    With `keys` a call without one of them is UNAUTHENTICATED. `shared`: other processes may listen
    there too, and each gets some of the connections. `inner` interceptors see calls that passed.

    Raises UserError, once it is entered, when it cannot listen there.
    """

    @asynccontextmanager
    async def face(service: Service) -> AsyncGenerator[None]:
        limits = service.limits
        most = limits.body_bytes + _MESSAGE_EXTRA
        by_address = AddressInterceptor(limits.address_connections)
        by_key = () if keys is None else (KeyInterceptor(keys),)
        server = grpc.aio.server(
            interceptors=[*by_key, by_address, *inner],
            maximum_concurrent_rpcs=limits.connections,
            options=[
                ("grpc.max_receive_message_length", most),
                ("grpc.max_send_message_length", -1),
                # Unless that is wanted, a second server would take half of the calls.
                ("grpc.so_reuseport", int(shared)),
                ("grpc.max_connection_idle_ms", 300_000),
            ],
        )
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Servicer(service), server)
        add_health(service, server)
        reflection.enable_server_reflection(
            (PROTOCOL, HEALTH, reflection.SERVICE_NAME),
            server,
        )
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            bound = server.add_insecure_port(address)
        except RuntimeError as error:
            raise UserError(
                f"cannot listen for gRPC on {address}: choose another --grpc-port or --host"
            ) from error
        await server.start()
        log.info("gRPC on %s:%d", address.rpartition(":")[0], bound)
        told(bound)
        try:
            yield
        finally:
            await server.stop(service.readiness.grace_left)

    return face
