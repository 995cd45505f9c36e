"""What routes are described with: operations, answers, refusals, parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from serve.http.openapi.schemas import Schema

JSON = "application/json"
ERRORS = {
    400: "a parameter, the body, or a Host that is not this server's",
    401: "a key is wanted",
    403: "a page of another site asks, or models that stay as they are are to be changed",
    404: "no model, or no version of it, has that name",
    408: "the body came in too slowly",
    409: "what is in the model's folder now is not usable; nothing changed",
    413: "the body, its JSON, or its images are too large",
    415: "a format or an encoding that is not read",
    429: "the model's line, the line for decoding, or the bytes of all bodies are at their limit",
    500: "the engine failed or there is a bug; the log says more",
    503: "not ready, unloaded, stopping, or too many connections",
    504: "the request's timeout passed",
}
ALWAYS = (400, 401, 500, 503)
WITH_BODY = (403, 408, 413, 415, 429)


def operation(summary: str, answered: dict[str, Any], *statuses: int) -> dict[str, Any]:
    """A route; beside ALWAYS, it refuses with these `statuses`."""
    return _refusing(summary, answered, {*ALWAYS, *statuses})


def probe(summary: str, answered: dict[str, Any]) -> dict[str, Any]:
    """A route that needs no key."""
    return _refusing(summary, answered, {*ALWAYS} - {401}) | {"security": []}


def _refusing(summary: str, answered: dict[str, Any], statuses: set[int]) -> dict[str, Any]:
    refused = {
        str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)
    }
    return {"summary": summary, "responses": {"200": answered, **refused}}


def answer(
    why: str,
    content: Mapping[str, Schema] | None = None,
    headers: Mapping[str, Schema] | None = None,
) -> dict[str, Any]:
    """Status 200: `content` by its media type (None: an empty body), more `headers`."""
    request_id = {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}}
    made: dict[str, Any] = {"description": why, "headers": request_id | dict(headers or {})}
    if content is not None:
        made["content"] = {kind: {"schema": schema} for kind, schema in content.items()}
    return made


def parameter(where: str, name: str, schema: Schema, **more: Any) -> dict[str, Any]:
    """In the "path", the "query" or a "header"."""
    return {"name": name, "in": where, "required": where == "path", "schema": schema, **more}


def examples(values: Iterable[str]) -> dict[str, Any]:
    """Of a parameter."""
    return {value: {"value": value} for value in values}
