"""POST /v2/models/{model}/infer: the protocol's tensors to the engine and back."""

from __future__ import annotations

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from serve.http.addressed_model import addressed_model
from serve.http.body import read_body
from serve.limits import Refusal
from serve.media.codec import deflate
from serve.models.service import Service, deadline_of, now
from serve.protocol.inference_protocol import encode_response, parse_request

JSON_LENGTH = "Inference-Header-Content-Length"


async def infer(service: Service, request: Request) -> Response:
    """Answers a request of the protocol, or raises Refusal."""
    arrived = now()
    model = addressed_model(service, request)
    with service.place(model):
        body = await read_body(request, service.limits)
        length = _json_length(request)
        to_thread = anyio.to_thread.run_sync
        asked = await to_thread(parse_request, body, length, model.spec, service.limits)
        outputs = await service.run(
            model,
            asked.inputs[model.spec.inputs[0].name],
            [wanted.name for wanted in asked.outputs],
            deadline_of(arrived, asked.timeout),
            request.is_disconnected,
        )
        answer, json_length = await to_thread(
            encode_response, model.spec, asked, outputs, service.limits.json_values
        )
        headers = {"Content-Type": "application/json"}
        if json_length is not None:
            headers = {
                "Content-Type": "application/octet-stream",
                JSON_LENGTH: str(json_length),
            }
        if encoding := _answer_encoding(request):
            answer = await to_thread(deflate, answer, encoding)
            headers["Content-Encoding"] = encoding
        return Response(answer, headers=headers)


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
