"""gRPC's own health service, as load balancers and probes ask for it."""

from __future__ import annotations

import asyncio
from typing import Any

from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from serve.models.service import Service

library: Any = health  # half of it has no types
PROTOCOL = "inference.GRPCInferenceService"
HEALTH = health.SERVICE_NAME
_NAMES = (health.OVERALL_HEALTH, PROTOCOL)


def add_health(service: Service, server: Any) -> None:
    """Has `server` answer grpc.health.v1: serving while the service is ready; watchers are told."""
    servicer = library.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    statuses: Any = health_pb2.HealthCheckResponse
    tasks: set[asyncio.Task[None]] = set()

    async def tell() -> None:
        status = statuses.SERVING if service.readiness.unready is None else statuses.NOT_SERVING
        for name in _NAMES:
            await servicer.set(name, status)

    def changed() -> None:
        task = asyncio.ensure_future(tell())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    service.readiness.on_change.append(changed)
    changed()
