"""GET /openapi.json: what this server answers to, with the limits and models that it has now."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from roadshift import __version__
from serve.http.openapi.parts import ERRORS
from serve.http.openapi.paths import paths
from serve.http.openapi.schemas import COUNT, SCHEMAS, TEXT, ref
from serve.models.service import Service

_STREAM = """**Streams** are no part of OpenAPI: `GET /stream` opens a WebSocket. One image file in
each binary message; the address takes the parameters of `POST /segment`. An answer is a text
message of JSON, `{"frame": 7, "dropped": 2, "type": "image/png", "times": {...}}`, and a binary one
with what was asked for; a frame that is refused has `error` and `status` in its text message, and
no second one. The newest frame wins: one that waits gives way to it, and is counted in `dropped`.
"""
_ABOUT = """Segments street images: plain ones, and tensors of the Open Inference Protocol v2.

Every answer has `X-Request-Id`; who sends one gets it back. `Content-Encoding: gzip` or `deflate`
of a body is read. Errors are JSON with one sentence.

"""


async def openapi(service: Service, _: Request) -> Response:
    """The document."""
    return JSONResponse(document(service))


def document(service: Service) -> dict[str, Any]:
    """The routes as OpenAPI 3.1; the limits, classes and models' names are those of now."""
    components = {
        "schemas": SCHEMAS,
        "headers": {
            "RequestId": {"schema": TEXT, "description": "stands in the server's log too"},
            "RetryAfter": {"schema": COUNT, "description": "seconds"},
        },
        "responses": {str(status): _error(status, why) for status, why in ERRORS.items()},
        "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "roadshift", "version": __version__, "description": _ABOUT + _STREAM},
        # A key is wanted where the server was started with --api-key-file.
        "security": [{}, {"key": []}],
        "paths": paths(service),
        "components": components,
    }


def _error(status: int, why: str) -> dict[str, Any]:
    headers = {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}}
    if status in (429, 503):
        headers["Retry-After"] = {"$ref": "#/components/headers/RetryAfter"}
    return {
        "description": f"{HTTPStatus(status).phrase}: {why}",
        "headers": headers,
        "content": {"application/json": {"schema": ref("Error")}},
    }
