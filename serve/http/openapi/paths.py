"""The routes: what each takes, gives, and with which statuses it refuses."""

from __future__ import annotations

from typing import Any

from serve.http.infer import JSON_LENGTH
from serve.http.openapi.images import segment_images
from serve.http.openapi.parts import (
    JSON,
    WITH_BODY,
    answer,
    examples,
    operation,
    parameter,
    probe,
)
from serve.http.openapi.schemas import BYTES, COUNT, TEXT, Schema, record, ref
from serve.http.segment import LONGEST_NUMBER
from serve.models.service import Service


def paths(service: Service) -> dict[str, Any]:
    """The paths of OpenAPI; limits, classes and names are the service's of now."""
    name = parameter("path", "model", TEXT, examples=examples(service.models))
    version = parameter("path", "version", TEXT, examples=examples(["1"]))
    bundle = "/v2/repository/models/{model}"
    return {
        **_of_server(),
        "/segment": {"post": segment_images(service)},
        "/v2/repository/index": {"post": _index()},
        f"{bundle}/load": {"parameters": [name], "post": _load()},
        f"{bundle}/unload": {"parameters": [name], "post": _unload()},
        **{
            place + ending: {"parameters": parameters, method: described}
            for place, parameters in (
                ("/v2/models/{model}/versions/{version}", [name, version]),
                ("/v2/models/{model}", [name]),
            )
            for ending, method, described in _of_model(service)
        },
    }


def _of_server() -> dict[str, Any]:
    """What asks for no model."""
    live = answer("It answers.", {JSON: record(live={"const": True})})
    ready = answer("It is ready.", {JSON: record(ready={"const": True})})
    server = answer("", {JSON: ref("ServerMetadata")})
    statistics = answer("", {JSON: ref("Statistics")})
    page, figures = answer("", {"text/html": TEXT}), answer("", {"text/plain": TEXT})
    document = answer("", {JSON: {"type": "object"}})
    return {
        "/": {"get": operation("How to call it, for people", page)},
        "/openapi.json": {"get": operation("This document", document)},
        "/metrics": {"get": operation("Figures for Prometheus", figures)},
        "/v2": {"get": operation("The server", server)},
        "/v2/health/live": {"get": probe("Whether it answers", live)},
        "/v2/health/ready": {"get": probe("Whether the golden frames came out", ready)},
        "/v2/models/stats": {"get": operation("What became of all requests", statistics)},
    }


def _of_model(service: Service) -> list[tuple[str, str, dict[str, Any]]]:
    """What there is under each model's address: ending, method, operation."""
    ready = answer("It is ready.", {JSON: record(name=TEXT, ready={"const": True})})
    metadata, config, statistics = (
        answer("", {JSON: ref(name)}) for name in ("ModelMetadata", "ModelConfig", "Statistics")
    )
    return [
        ("", "get", operation("A model's tensors", metadata, 404)),
        ("/ready", "get", operation("Whether it is ready", ready, 404)),
        ("/config", "get", operation("Triton's configuration", config, 404)),
        ("/stats", "get", operation("What became of its requests", statistics, 404)),
        ("/infer", "post", _infer(service)),
    ]


def _infer(service: Service) -> dict[str, Any]:
    length = {**COUNT, "maximum": 10**LONGEST_NUMBER - 1}
    answered = answer(
        "The tensors; as bytes behind the JSON where that was asked for.",
        {JSON: ref("InferResponse"), "application/octet-stream": BYTES},
        {JSON_LENGTH: {"schema": COUNT, "description": "of the JSON, where bytes follow it"}},
    )
    limits = service.limits
    about = (
        f"JSON ({limits.json_bytes} bytes at most), or that and the tensors' bytes behind it "
        f"({limits.body_bytes} together): the header {JSON_LENGTH} has the length of the JSON; 0: "
        "the body is the one input alone. An Accept-Encoding of gzip or deflate alone compresses "
        "the answer."
    )
    content = {JSON: ref("InferRequest"), "application/octet-stream": BYTES}
    return operation("Run a model", answered, *WITH_BODY, 404, 504) | {
        "description": about,
        "parameters": [parameter("header", JSON_LENGTH, length)],
        "requestBody": _body(content) | {"required": True},
    }


def _index() -> dict[str, Any]:
    asked = record({"ready": {"type": "boolean", "description": "only those that are"}})
    answered = answer("The models.", {JSON: ref("RepositoryIndex")})
    return operation("All models", answered, *WITH_BODY) | {"requestBody": _body({JSON: asked})}


def _load() -> dict[str, Any]:
    summary = "Read the bundle's folder again, and answer from it"
    return _change(summary, {}, 409)


def _unload() -> dict[str, Any]:
    return _change("Answer for the bundle no more", {"unload_dependents": {}})


def _change(summary: str, known: dict[str, Schema], *statuses: int) -> dict[str, Any]:
    """Another parameter than the `known` ones is refused."""
    given = {"type": "object", "properties": known, "additionalProperties": False}
    changed = operation(summary, answer("It is done."), *WITH_BODY, 404, *statuses)
    return changed | {"requestBody": _body({JSON: record({"parameters": given})})}


def _body(content: dict[str, Schema]) -> dict[str, Any]:
    return {"content": {kind: {"schema": schema} for kind, schema in content.items()}}
