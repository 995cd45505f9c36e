"""What the page's scripts ask for, over HTTP. Nothing that a visitor sends outlives its answer."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from demo.html_parts import size_text
from demo.page.answers import address, redrawn, segmented
from demo.page.clip import MOST_BYTES as MOST_CLIP_BYTES
from demo.page.clip import clip_stream
from demo.page.label_picture import read_labels
from demo.page.live import LiveView, live_pixels
from demo.page.segmentation import MOST_SHOWN, At, Segmenting, learnt_size, viridis
from demo.page.visitors import LIMITS, LIVE, Queue, received
from roadshift import Failure, UserError
from serve.limits import Refusal
from serve.media.codec import encode_jpeg, encode_png
from serve.media.paint import overlay
from serve.models.byte_budget import ByteBudget
from serve.runtime.image_graphs import ImageGraph

STATIC = Path(__file__).parent / "static"
MOST_BYTES = 32 << 20
"""Of a picture's file."""
MOST_SIDE = 1 << 14
CLIP_TAKEN = "Another clip is being worked on: try again in a minute."
CLIP_PATIENCE = 5.0
"""Seconds: a clip that was stopped for this one keeps its place until its frame is done."""
Endpoint = Callable[[Request], Awaitable[Response]]


class ShownModel(NamedTuple):
    """A bundle on show and what the page calls it."""

    engine: Segmenting
    title: str


class Api:
    """The routes under /roadshift/: the first model is the one on every tab."""

    def __init__(
        self, models: Sequence[ShownModel], reconstructor: ImageGraph | None = None
    ) -> None:
        self._models, self._queue, self._reconstructor = models, Queue(), reconstructor
        self._clips = Queue(0, CLIP_TAKEN, patience=CLIP_PATIENCE)
        self._live = LiveView(models[0].engine, self._queue)
        self._received = functools.partial(received, bodies=ByteBudget(LIMITS.all_bodies_bytes))
        self.bundle = models[0].engine.bundle
        golden = self.bundle.golden()
        self._golden = [one for one in golden if one.image.shape == golden[0].image.shape]

    @property
    def tabs(self) -> list[str]:
        """The tabs that these bundles can fill."""
        shown = {
            "Picture": True,
            "Adaptation": len(self._models) > 1,
            "Reconstruction": self._reconstructor is not None,
        }
        return [*(name for name, there in shown.items() if there), "Video"]

    def routes(self) -> list[BaseRoute]:
        """To be put before the page's own."""
        post = {
            "segment": self._segment,
            "labels": self._labels,
            "redraw": self._redraw,
            "video": self._video,
        }
        get = {
            "about": self._about,
            "examples/{number:int}": self._example,
            "preview.jpg": self._preview,
        }
        return [
            *(Route(f"/roadshift/{p}", _explained(e), methods=["POST"]) for p, e in post.items()),
            *(Route(f"/roadshift/{p}", _explained(e), methods=["GET"]) for p, e in get.items()),
            WebSocketRoute(LIVE, self._live.watch),
            Mount("/roadshift/static", StaticFiles(directory=STATIC)),
        ]

    async def _about(self, _request: Request) -> Response:
        bundle, learnt = self.bundle, learnt_size(self.bundle)
        return JSONResponse(
            {
                "name": bundle.name,
                "models": [model.title for model in self._models],
                "classes": bundle.classes,
                "palette": bundle.palette,
                "scale": viridis(),
                "examples": len(self._golden),
                "learnt": learnt and size_text(learnt),
                "livePixels": live_pixels(bundle),
                "address": "http://127.0.0.1:8000",
            }
        )

    async def _example(self, request: Request) -> Response:
        number = request.path_params["number"]
        if number >= len(self._golden):
            raise Refusal(404, "There is no such example.")
        return Response(encode_png(self._golden[number].image), media_type="image/png")

    async def _preview(self, _request: Request) -> Response:
        """What a link to the page shows: the first golden frame under its class colours."""
        image, labels, *_ = self._golden[0]
        return Response(
            encode_jpeg(overlay(image, labels, self.bundle.palette)), media_type="image/jpeg"
        )

    async def _segment(self, request: Request) -> Response:
        engine = self._model(request).engine
        at = _at(request)
        async with self._received(request, MOST_BYTES) as body, self._queue.place():
            gone = request.is_disconnected
            values = await self._queue.run(segmented, engine, body, at, gone=gone)
        return JSONResponse(values)

    async def _labels(self, request: Request) -> Response:
        """A visitor's label picture as class ids, at the size of the picture on show."""
        size = _number(request, "height"), _number(request, "width")
        if math.prod(size) > 2 * MOST_SHOWN:
            raise Refusal(400, "no picture that large is on show")
        async with self._received(request, MOST_BYTES) as body, self._queue.place():
            labels = await self._queue.run(read_labels, body, self.bundle, size)
        return JSONResponse({"labels": address("png", encode_png(labels))})

    async def _redraw(self, request: Request) -> Response:
        """The picture redrawn from labels, the predicted ones or those that a visitor painted."""
        if self._reconstructor is None:
            raise Refusal(404, "This bundle has no reconstructor.")
        async with self._received(request, MOST_BYTES) as body, self._queue.place():
            gone = request.is_disconnected
            values = await self._queue.run(redrawn, self._reconstructor, body, gone=gone)
        return JSONResponse(values)

    async def _video(self, request: Request) -> Response:
        """A clip under its class colours: lines of JSON while it is made, then the WebM file."""
        at = _at(request)
        async with self._clips.place():
            pass  # whoever finds it taken is told before the clip is sent
        async with self._received(request, MOST_CLIP_BYTES) as body:
            clip = body
        return StreamingResponse(
            clip_stream(self._models[0].engine, clip, at, self._clips, self._queue),
            media_type="application/octet-stream",
        )

    def _model(self, request: Request) -> ShownModel:
        number = request.query_params.get("model", "0")
        if number not in map(str, range(len(self._models))):
            raise Refusal(404, "There is no such model.")
        return self._models[int(number)]


def _at(request: Request) -> At:
    """The size at which the network sees what was sent."""
    found = request.query_params.get("size", "own")
    if found not in ("own", "learnt"):
        raise Refusal(400, "size is 'own' or 'learnt'")
    return found


def _number(request: Request, name: str) -> int:
    """A side of a picture that is on show."""
    found = request.query_params.get(name, "")
    if not re.fullmatch(r"[1-9]\d{0,4}", found) or int(found) > MOST_SIDE:
        raise Refusal(400, f"{name} is a number of pixels from 1 to {MOST_SIDE}")
    return int(found)


def _explained(endpoint: Endpoint) -> Endpoint:
    """Our own errors' sentences reach the person at the browser."""

    @functools.wraps(endpoint)
    async def wrapped(request: Request) -> Response:
        try:
            return await endpoint(request)
        except Refusal as refusal:
            return JSONResponse({"error": str(refusal)}, refusal.status)
        except UserError as error:
            return JSONResponse({"error": str(error)}, 400)
        except Failure as error:
            return JSONResponse({"error": str(error)}, 500)

    return wrapped
