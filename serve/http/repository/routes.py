"""POST /v2/repository/index, and .../models/{model}/load and unload."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serve.http.body import read_body
from serve.limits import Refusal
from serve.models.byte_budget import Share
from serve.models.service import Service
from serve.protocol import metadata
from serve.protocol.json_checks import an_object, flag, load_json


async def index(service: Service, request: Request) -> Response:
    """All models and whether they are ready; with `{"ready": true}` those that are."""
    ready = flag(await _document(service, request), "ready", False)
    return JSONResponse(metadata.index(service.catalogue, service.readiness.unready, ready=ready))


async def load(service: Service, request: Request) -> Response:
    """Reads the model's folder again and answers from it from now on, or raises Refusal."""
    await _check(service, request, ())
    await service.repository.load(request.path_params["model"])
    return Response()


async def unload(service: Service, request: Request) -> Response:
    """Answers for the model no more, or raises Refusal."""
    await _check(service, request, metadata.UNLOADS_WITH)
    await service.repository.unload(request.path_params["model"])
    return Response()


async def _check(service: Service, request: Request, known: Sequence[str]) -> None:
    document = await _document(service, request)
    given = an_object(document.get("parameters", {}), "parameters")
    metadata.check_parameters(given, known)
    service.readiness.require()


async def _document(service: Service, request: Request) -> dict[str, Any]:
    """The JSON that was sent; nothing at all is an empty object."""
    with Share(service.bodies) as share:
        body = await read_body(request, service.limits, share)
    if len(body) > service.limits.json_bytes:
        raise Refusal(413, f"the body has {len(body)} bytes of JSON: send less")
    return an_object(load_json(body), "the request") if body else {}
