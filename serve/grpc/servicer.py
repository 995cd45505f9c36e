"""The calls of the protocol's gRPC service, answered from the same models as HTTP's."""

# ruff: noqa: N802, ARG002 - the names and arguments are gRPC's
from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias

import grpc
from google.protobuf.json_format import ParseDict
from tritonclient.grpc import service_pb2, service_pb2_grpc

from roadshift import Failure
from serve.grpc.tensors import read_message, write_message
from serve.limits import GONE, Refusal
from serve.models.byte_budget import Share
from serve.models.catalogue import Model
from serve.models.service import Service
from serve.models.workers import deadline_of, now
from serve.protocol import metadata
from serve.protocol.metadata import UNLOADS_WITH, check_parameters

log = logging.getLogger(__name__)
Message: TypeAlias = Any  # the generated classes are made at import, unseen by type checkers
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
messages: Any = service_pb2

CODES = {
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    GONE: grpc.StatusCode.CANCELLED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""What a Refusal's status is in gRPC; all others are INVALID_ARGUMENT."""


class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Answers for a service's models; what is not here is UNIMPLEMENTED."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def ServerLive(self, request: Message, context: Context) -> Message:
        return messages.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Message, context: Context) -> Message:
        return messages.ServerReadyResponse(ready=self._service.readiness.unready is None)

    async def ModelReady(self, request: Message, context: Context) -> Message:
        async def ready() -> Message:
            self._model(request.name, request.version)
            return messages.ModelReadyResponse(ready=self._service.readiness.unready is None)

        return await _answered(context, ready)

    async def ServerMetadata(self, request: Message, context: Context) -> Message:
        return ParseDict(metadata.server(), messages.ServerMetadataResponse())

    async def ModelMetadata(self, request: Message, context: Context) -> Message:
        async def told() -> Message:
            facts = metadata.metadata(self._model(request.name, request.version))
            return ParseDict(facts, messages.ModelMetadataResponse(), ignore_unknown_fields=True)

        return await _answered(context, told)

    async def ModelConfig(self, request: Message, context: Context) -> Message:
        async def told() -> Message:
            facts = metadata.config(self._model(request.name, request.version).graph)
            return ParseDict({"config": facts}, messages.ModelConfigResponse())

        return await _answered(context, told)

    async def ModelStatistics(self, request: Message, context: Context) -> Message:
        async def told() -> Message:
            named = [self._model(request.name, request.version)] if request.name else None
            models = named or self._service.models.values()
            facts = metadata.statistics(model.metrics for model in models)
            response = messages.ModelStatisticsResponse()
            return ParseDict(facts, response, ignore_unknown_fields=True)

        return await _answered(context, told)

    async def RepositoryIndex(self, request: Message, context: Context) -> Message:
        service = self._service
        found = metadata.index(service.catalogue, service.readiness.unready, ready=request.ready)
        facts = {"models": found}
        return ParseDict(facts, messages.RepositoryIndexResponse())

    async def RepositoryModelLoad(self, request: Message, context: Context) -> Message:
        async def loaded() -> Message:
            check_parameters(request.parameters, ())
            self._service.readiness.require()
            await self._service.repository.load(request.model_name)
            return messages.RepositoryModelLoadResponse()

        return await _answered(context, loaded)

    async def RepositoryModelUnload(self, request: Message, context: Context) -> Message:
        async def unloaded() -> Message:
            check_parameters(request.parameters, UNLOADS_WITH)
            self._service.readiness.require()
            await self._service.repository.unload(request.model_name)
            return messages.RepositoryModelUnloadResponse()

        return await _answered(context, unloaded)

    async def ModelInfer(self, request: Message, context: Context) -> Message:
        return await _answered(context, partial(self._infer, request, context))

    async def _infer(self, request: Message, context: Context) -> Message:
        arrived, service = now(), self._service
        model = self._model(request.model_name, request.model_version)
        with service.accounted(model), Share(service.bodies) as share:
            share.take(request.ByteSize())
            left = context.time_remaining()
            client = deadline_of(arrived, left)
            read = partial(read_message, request, model.spec, service.limits)
            asked = await service.decode(model, read, client)
            stated = deadline_of(arrived, asked.timeout)
            deadline = min((each for each in (client, stated) if each is not None), default=None)
            values = asked.inputs[model.spec.inputs[0].name]
            wanted = [output.name for output in asked.outputs]
            outputs = await service.run(model, values, wanted, deadline, first=asked.first)
            write = partial(write_message, model.spec, asked, outputs)
            return await service.encode(model, write, deadline)

    def _model(self, name: str, version: str) -> Model:
        return self._service.model_of(name, version or None)


async def _answered(context: Context, call: Callable[[], Awaitable[Message]]) -> Message:
    """What `call` gives, or the call ended with a code and one sentence that names no path."""
    code, why = grpc.StatusCode.INTERNAL, "internal error; the server's log says where"
    try:
        return await call()
    except Refusal as refusal:
        code, why = CODES.get(refusal.status, grpc.StatusCode.INVALID_ARGUMENT), str(refusal)
    except Failure as failure:
        log.error("%s", failure)
        why = "the engine failed; the server's log says why"
    except Exception:
        log.exception("a call over gRPC failed")
    return await context.abort(code, why)
