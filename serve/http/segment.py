"""POST /segment: a JPEG or PNG image in; labels, an overlay, the confidence or numbers out."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import anyio.to_thread
import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from export.bundle import Bundle
from serve.http.body import read_body
from serve.limits import Refusal
from serve.media.codec import decode, encode_jpeg, encode_png
from serve.media.paint import class_shares, overlay
from serve.models.service import Service, deadline_of, now

ANSWERS = ("labels", "overlay", "confidence", "json")
FORMATS = ("jpeg", "png")
TYPES = ("image/jpeg", "image/png")


class SegmentQuery(NamedTuple):
    """What the address asks for."""

    answer: str
    format: str
    timeout: float | None


async def segment(service: Service, request: Request) -> Response:
    """Answers with the image's labels in the form that the address asks for, or raises Refusal."""
    arrived = now()
    with service.place(service.segmentor):
        options = _options(request)
        body = await read_body(request, service.limits)
        received = time.perf_counter()
        image = await anyio.to_thread.run_sync(decode, body, service.limits.pixels)
        decoded = time.perf_counter()
        wanted = "confidence" if options.answer == "confidence" else "labels"
        deadline = deadline_of(arrived, options.timeout)
        outputs = await service.run(
            service.segmentor, image[None], [wanted], deadline, request.is_disconnected
        )
        times = {
            "decode_ms": round(1e3 * (decoded - received), 3),
            "engine_ms": round(1e3 * (time.perf_counter() - decoded), 3),
        }
        bundle = service.engine.bundle
        return await anyio.to_thread.run_sync(
            _answer, options, bundle, image, outputs[wanted][0], times
        )


def _answer(
    options: SegmentQuery,
    bundle: Bundle,
    image: NDArray[np.uint8],
    values: NDArray[np.uint8],
    times: dict[str, float],
) -> Response:
    if options.answer == "json":
        return JSONResponse({**_numbers(bundle, values), "times": times})
    timing = ", ".join(f"{name[:-3]};dur={ms}" for name, ms in times.items())
    headers = {"Server-Timing": timing}
    if options.answer == "overlay":
        blend = overlay(image, values, bundle.palette)
        if options.format == "jpeg":
            return Response(encode_jpeg(blend), media_type="image/jpeg", headers=headers)
        values = blend
    return Response(encode_png(values), media_type="image/png", headers=headers)


def _numbers(bundle: Bundle, labels: NDArray[np.uint8]) -> dict[str, Any]:
    shares = class_shares(labels, bundle.classes)
    return {
        "model": bundle.name,
        "size": {"height": labels.shape[0], "width": labels.shape[1]},
        "classes": [
            {"id": i, "name": name, "color": list(colour), "share": shares[name]}
            for i, (name, colour) in enumerate(zip(bundle.classes, bundle.palette, strict=True))
        ],
    }


def _options(request: Request) -> SegmentQuery:
    """The address's parameters, checked before the body is read."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in TYPES:
        raise Refusal(
            415, f"Content-Type is {kind[:40]!r}; wanted {' or '.join(TYPES)}, the image as body"
        )
    if strange := request.query_params.keys() - {"as", "format", "timeout"}:
        raise Refusal(
            400, f"unknown parameter {min(strange)[:40]!r}: there are as, format, timeout"
        )
    answer = request.query_params.get("as", "labels")
    form = request.query_params.get("format", "jpeg" if answer == "overlay" else "png")
    if answer not in ANSWERS:
        raise Refusal(400, f"unknown as={answer[:40]!r}: wanted one of {', '.join(ANSWERS)}")
    if form not in FORMATS or (form == "jpeg" and answer != "overlay"):
        raise Refusal(
            400,
            f"format={form[:40]!r} does not go with as={answer}: overlay is jpeg or png, "
            "labels and confidence are png",
        )
    timeout = request.query_params.get("timeout", "0")
    if not (timeout.isascii() and timeout.isdecimal()) or len(timeout) > 18:
        raise Refusal(400, "the timeout is not a whole number of microseconds")
    return SegmentQuery(answer, form, int(timeout) / 1e6 if int(timeout) else None)
