"""POST /v2/models/{model}/infer: the protocol's tensors to the engine and back."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from serve.http.addressed_model import addressed_model
from serve.http.body import read_body
from serve.http.unless_gone import unless_gone
from serve.limits import Refusal
from serve.media.codec import deflate
from serve.models.byte_budget import Share
from serve.models.catalogue import Model
from serve.models.service import Service
from serve.models.workers import deadline_of, now
from serve.protocol.inference_protocol import InferRequest, encode_response, parse_request

JSON_LENGTH = "Inference-Header-Content-Length"


async def infer(service: Service, request: Request) -> Response:
    """Answers a request of the protocol, or raises Refusal."""
    arrived = now()
    model = addressed_model(service, request)
    with service.accounted(model), Share(service.bodies) as share:
        length, encoding = _json_length(request), _answer_encoding(request)
        body = await read_body(request, service.limits, share)
        parse = partial(parse_request, body, length, model.spec, service.limits)
        return await unless_gone(request, _answer(service, model, parse, arrived, encoding))


async def _answer(
    service: Service,
    model: Model,
    parse: partial[InferRequest],
    arrived: float,
    encoding: str | None,
) -> Response:
    asked = await service.decode(model, parse, None)
    deadline = deadline_of(arrived, asked.timeout)
    values = asked.inputs[model.spec.inputs[0].name]
    wanted = [each.name for each in asked.outputs]
    outputs = await service.run(model, values, wanted, deadline, first=asked.first)

    def encode() -> Response:
        answer, json_length = encode_response(
            model.spec, asked, outputs, service.limits.json_values
        )
        headers = {"Content-Type": "application/json"}
        if json_length is not None:
            headers = {"Content-Type": "application/octet-stream", JSON_LENGTH: str(json_length)}
        if encoding:
            answer = deflate(answer, encoding)
            headers["Content-Encoding"] = encoding
        return Response(answer, headers=headers)

    return await service.encode(model, encode, deadline)


def _json_length(request: Request) -> int | None:
    value = request.headers.get(JSON_LENGTH)
    if value is None:
        return None
    if not (value.isascii() and value.isdecimal()) or len(value) > 18:
        raise Refusal(400, f"{JSON_LENGTH} is not a number of bytes")
    return int(value)


def _answer_encoding(request: Request) -> str | None:
    """gzip or deflate when it is all that the client names.

    The protocol's clients name one where their user asked for it. A list ("gzip, deflate, br") is
    what general clients always send, and compressing costs more than it saves on a near network.
    """
    value = request.headers.get("accept-encoding", "").strip().lower()
    return value if value in ("gzip", "deflate") else None
