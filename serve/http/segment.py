"""POST /segment: images in; labels, an overlay, the confidence, numbers or polygons out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from serve.http.body import read_body
from serve.http.unless_gone import unless_gone
from serve.http.uploads import Upload, check_content_type, uploads_of
from serve.limits import Refusal
from serve.media.answers import KINDS, File, ImageAnswer, answer, in_one_file
from serve.media.codec import decode
from serve.media.image_header import read_header
from serve.models.byte_budget import Share
from serve.models.catalogue import Model
from serve.models.self_check.self_check import SelfChecked
from serve.models.service import Service
from serve.models.workers import deadline_of, now, until
from serve.protocol.inference_protocol import is_first

FORMATS = ("jpeg", "png")
PARAMETERS = ("as", "format", "model", "monitor", "priority", "timeout")
LONGEST_NUMBER = 18
"""Digits."""


class SegmentQuery(NamedTuple):
    """What the address asks for."""

    kinds: tuple[str, ...]
    format: str
    timeout: float | None
    first: bool
    monitor: bool


class SegmentAnswer(NamedTuple):
    """An answer, the milliseconds of its stages by their names, and each image's self-check."""

    file: File
    times: dict[str, float]
    checked: tuple[SelfChecked, ...]


async def segment(service: Service, request: Request) -> Response:
    """Answers with the images' labels in the form that the address asks for, or raises Refusal."""
    arrived = now()
    model = asked_model(service, request.query_params)
    with service.accounted(model), Share(service.bodies) as share:
        query = asked_query(request.query_params)
        if query.monitor:
            service.monitor.require(model)
        kind = request.headers.get("content-type", "")
        check_content_type(kind)
        deadline = deadline_of(arrived, query.timeout)
        with until(deadline, "while its body came in"):
            body = await read_body(request, service.limits, share)
        work = SegmentWork(service, model, query, deadline)
        file, times, checked = await unless_gone(request, work.answer(body, kind))
    timing = ", ".join(f"{name[:-3]};dur={ms}" for name, ms in times.items())
    headers = {"Server-Timing": timing}
    if checked:
        headers["Monitor-Score"] = ", ".join(f"{one.score:.3f}" for one in checked)
    return Response(file.content, media_type=file.media_type, headers=headers)


class SegmentWork:
    """What one request asks for, done stage by stage."""

    def __init__(
        self, service: Service, model: Model, query: SegmentQuery, deadline: float | None
    ) -> None:
        self.service, self.model, self.query, self.deadline = service, model, query, deadline
        self.began = time.perf_counter()
        self.decoded = self.began
        self.checking = 0.0
        self.checked: list[SelfChecked] = []

    async def answer(self, body: bytes, content_type: str) -> SegmentAnswer:
        """The answer to an image file, or to a form of them; raises Refusal."""
        images = await self.service.decode(
            self.model, partial(self._decode, body, content_type), self.deadline
        )
        self.decoded = time.perf_counter()
        segmented = [await self._segment(name, image) for name, image in images]
        return await self.service.encode(
            self.model, partial(self._encode, segmented), self.deadline
        )

    def _decode(self, body: bytes, content_type: str) -> list[tuple[str, NDArray[np.uint8]]]:
        uploads = uploads_of(body, content_type)
        self._check_pixels(uploads)
        return [(upload.name, decode(upload.content)) for upload in uploads]

    def _check_pixels(self, uploads: Sequence[Upload]) -> None:
        most = self.service.limits.pixels
        headers = [read_header(upload.content, most) for upload in uploads]
        count = sum(self.model.graph.pixels((1, h.height, h.width)) for h in headers)
        if most is not None and count > most:
            raise Refusal(413, f"the images have {count} pixels together; at most {most} are taken")

    async def _segment(self, name: str, image: NDArray[np.uint8]) -> ImageAnswer:
        monitored = self.query.monitor
        wanted = [] if self.query.kinds == ("confidence",) and not monitored else ["labels"]
        wanted += ["confidence"] if "confidence" in self.query.kinds else []
        found = await self.service.run(
            self.model, image[None], wanted, self.deadline, first=self.query.first
        )
        labels, confidence = found.get("labels"), found.get("confidence")
        if monitored and labels is not None:
            await self._check(image, labels[0])
        return ImageAnswer(
            name,
            image,
            np.zeros((0, 0), np.uint8) if labels is None else labels[0],
            None if confidence is None else confidence[0],
        )

    async def _check(self, image: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        began = time.perf_counter()
        monitor, first = self.service.monitor, self.query.first
        found = await monitor.check(self.model, image, labels, self.deadline, first=first)
        self.checked.append(found)
        self.checking += time.perf_counter() - began

    def _encode(self, segmented: Sequence[ImageAnswer]) -> SegmentAnswer:
        bundle = self.model.graph.bundle
        engine = time.perf_counter() - self.decoded - self.checking
        times = {"decode_ms": self.decoded - self.began, "engine_ms": engine}
        times |= {"monitor_ms": self.checking} if self.checked else {}
        times = {name: round(1e3 * seconds, 3) for name, seconds in times.items()}
        checks = iter(self.checked)
        files: list[tuple[str, str, File]] = []
        for one in segmented:
            monitor = {"monitor": _shown(next(checks))} if self.checked else {}
            more = {"times": times, **monitor}
            files += [
                (one.name, kind, answer(kind, self.query.format, one, bundle, more))
                for kind in self.query.kinds
            ]
        whole = files[0][2] if len(files) == 1 else in_one_file(files)
        return SegmentAnswer(whole, times, tuple(self.checked))


def asked_model(service: Service, asked: QueryParams) -> Model:
    """The segmentor that the address names, or the first; Refusal 404, or 400 for another graph."""
    name = asked.get("model")
    if name is None:
        return service.segmentor
    model = service.model_of(name)
    if model not in service.catalogue.segmentors:
        raise Refusal(400, f"model {name!r} does not segment: see POST /v2/models/{name}/infer")
    return model


def asked_query(asked: QueryParams) -> SegmentQuery:
    """The address's parameters, checked before anything is read; Refusal 400."""
    if strange := asked.keys() - set(PARAMETERS):
        raise Refusal(
            400, f"unknown parameter {min(strange)[:40]!r}: there are {', '.join(PARAMETERS)}"
        )
    kinds = tuple(dict.fromkeys(asked.get("as", "labels").split(",")))
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise Refusal(400, f"unknown as={unknown[0][:40]!r}: wanted one of {', '.join(KINDS)}")
    form = asked.get("format", "jpeg" if "overlay" in kinds else "png")
    if form not in FORMATS or (form == "jpeg" and "overlay" not in kinds):
        raise Refusal(
            400,
            f"format={form[:40]!r} does not go with as={','.join(kinds)}: overlay is jpeg or png, "
            "labels and confidence are png",
        )
    timeout = _whole(asked, "timeout", "microseconds")
    first = is_first(_whole(asked, "priority", "levels"))
    monitor = _whole(asked, "monitor", "checks") > 0
    return SegmentQuery(kinds, form, timeout / 1e6 if timeout else None, first, monitor)


def _shown(checked: SelfChecked) -> dict[str, Any]:
    cells = [[round(float(cell), 3) for cell in row] for row in checked.map]
    return {"score": round(checked.score, 3), "map": cells}


def _whole(asked: QueryParams, name: str, unit: str) -> int:
    value = asked.get(name, "0")
    if not (value.isascii() and value.isdecimal()) or len(value) > LONGEST_NUMBER:
        raise Refusal(400, f"the {name} is not a whole number of {unit}")
    return int(value)
