"""OpenTelemetry traces of requests and their stages, for the operator's collector."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import anyio.to_thread
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from starlette.types import ASGIApp, Receive, Scope, Send

from roadshift import UserError
from serve.http.app import Beside
from serve.http.envelope import request_id
from serve.http.guard import Before
from serve.models.service import Service

_TRACED = re.compile("/segment|/v2/models/.*/infer|/v2/repository/.*")
"""What is work. Probes and scrapes would drown it; a stream is no request, and has no end."""
_LAST_SECONDS = 3.0
"""A collector that does not answer holds up the end no longer."""


class Tracing:
    """A span a request, in the trace that its `traceparent` names, with one a stage inside.

    The stages are those of the metrics: decode, queue, infer, encode. What the SDK reads from its
    own environment variables (sampling, headers, the service's name) holds.
    """

    def __init__(self, endpoint: str) -> None:
        """`endpoint` takes OTLP over HTTP, as http://localhost:4318; UserError for no address."""
        address = urlsplit(endpoint)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise UserError(
                f"--otlp-endpoint is {endpoint!r}: wanted a collector's address for OTLP over "
                "HTTP, as http://localhost:4318"
            )
        resource = Resource.create()
        if str(resource.attributes[SERVICE_NAME]).startswith("unknown"):
            resource = resource.merge(Resource({SERVICE_NAME: "roadshift"}))
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint.rstrip("/") + "/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("roadshift")

    def around(self, before: Before) -> Before:
        """Requests over HTTP in spans, also those that `before` refuses."""

        def traced(app: ASGIApp, address: str) -> ASGIApp:
            guarded = before(app, address)
            within = OpenTelemetryMiddleware(
                guarded,
                tracer_provider=self._provider,
                server_request_hook=_name_request,
                exclude_spans=["receive", "send"],
            )

            async def chosen(scope: Scope, receive: Receive, send: Send) -> None:
                work = scope["type"] == "http" and _TRACED.fullmatch(scope["path"])
                await (within if work else guarded)(scope, receive, send)

            return chosen

        return traced

    def interceptor(self) -> Any:
        """Calls over gRPC in spans."""
        from opentelemetry.instrumentation.grpc import (  # noqa: PLC0415 - it wants an extra's grpc
            aio_server_interceptor,
            filters,
        )

        only = filters.method_name("ModelInfer")
        return aio_server_interceptor(tracer_provider=self._provider, filter_=only)

    def beside(self, other: Beside) -> Beside:
        """Stages in spans while the other transport is open; sends what is left at the end."""

        @asynccontextmanager
        async def traced(service: Service) -> AsyncGenerator[None]:
            service.metrics.on_stage = self._stage
            try:
                async with other(service):
                    yield
            finally:
                sending = threading.Thread(target=self._provider.shutdown, daemon=True)
                sending.start()
                await anyio.to_thread.run_sync(sending.join, _LAST_SECONDS)

        return traced

    def _stage(self, model: str, stage: str, since_ns: int) -> None:
        if not trace.get_current_span().is_recording():
            return
        end = time.time_ns()
        began = end - (time.perf_counter_ns() - since_ns)
        span = self._tracer.start_span(stage, attributes={"model": model}, start_time=began)
        span.end(end)


@cache
def tracing_to(endpoint: str) -> Tracing:
    """The one of this process that sends there."""
    return Tracing(endpoint)


def _name_request(span: trace.Span, _: dict[str, Any]) -> None:
    span.set_attribute("request.id", request_id.get())
