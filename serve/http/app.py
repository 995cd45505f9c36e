"""The HTTP server's routes: Open Inference Protocol v2, plain images, health.

Nothing that comes in names a file or an address. Bodies are bounded before they are decoded, and
answers to errors hold one sentence without a path.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial

import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from roadshift import Failure
from serve.http.addressed_model import addressed_model
from serve.http.connection import Complaints
from serve.http.envelope import BROKEN
from serve.http.infer import infer
from serve.http.openapi.document import openapi
from serve.http.page import page
from serve.http.repository.routes import index, load, unload
from serve.http.segment import segment
from serve.http.stream.stream import stream
from serve.limits import Refusal
from serve.models.service import Service
from serve.protocol import metadata

log = logging.getLogger(__name__)
Handler = Callable[[Service, Request], Awaitable[Response]]
Beside = Callable[[Service], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def no_other_face(_: Service) -> AsyncGenerator[None]:
    """HTTP alone."""
    yield


def build_app(
    service: Service,
    *,
    beside: Beside = no_other_face,
    on_failure: Callable[[Exception], None] = lambda _: None,
) -> Starlette:
    """The server's routes. It is not ready until all models have reproduced the golden frames.

    `on_failure` is called when that check fails; the server then stays not ready. `beside` is
    another transport, open as long as this one.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        asyncio.get_running_loop().set_exception_handler(Complaints())
        checking = asyncio.create_task(_check(service, on_failure))
        if service.readiness.late:
            await asyncio.wait([checking])
        try:
            async with AsyncExitStack() as open_faces:
                try:
                    await open_faces.enter_async_context(beside(service))
                except Exception as error:
                    service.readiness.unready = "the server could not start"
                    on_failure(error)
                yield
        finally:
            await checking  # a thread cannot be stopped, and a task must not be forgotten
            service.close()

    return Starlette(
        routes=_routes(service),
        lifespan=lifespan,
        exception_handlers={
            Refusal: _refused,
            Failure: _failed,
            HTTPException: _http_error,
            Exception: _broken,
        },
    )


async def _check(service: Service, on_failure: Callable[[Exception], None]) -> None:
    try:
        found = await anyio.to_thread.run_sync(service.check_golden)
    except Exception as error:  # whatever it is, a server that is not ready must say why
        service.readiness.unready = (
            "the check of the golden frames failed; the server's log says why"
        )
        log.error("the golden frames: %s", error)
        on_failure(error)
    else:
        await service.readiness.others_ready()
        service.readiness.unready = None
        log.info("ready: %s", found)


def _routes(service: Service) -> list[BaseRoute]:
    def route(path: str, handler: Handler, method: str = "GET") -> Route:
        return Route(path, partial(handler, service), methods=[method])

    about: list[Route] = []
    for model in ("/v2/models/{model}/versions/{version}", "/v2/models/{model}"):
        about += [
            route(model, _metadata),
            route(model + "/ready", _model_ready),
            route(model + "/config", _config),
            route(model + "/stats", _statistics),
            route(model + "/infer", infer, "POST"),
        ]
    return [
        route("/", _page),
        route("/openapi.json", openapi),
        route("/segment", segment, "POST"),
        route("/metrics", _metrics),
        route("/v2", _server),
        route("/v2/health/live", _live),
        route("/v2/health/ready", _ready),
        route("/v2/repository/index", index, "POST"),
        route("/v2/repository/models/{model}/load", load, "POST"),
        route("/v2/repository/models/{model}/unload", unload, "POST"),
        route("/v2/models/stats", _statistics),
        *about,
        WebSocketRoute("/stream", partial(stream, service)),
    ]


async def _page(service: Service, _: Request) -> Response:
    first = service.segmentor
    others = [model.graph for model in service.models.values() if model is not first]
    return HTMLResponse(page([first.graph, *others]))


async def _server(_: Service, __: Request) -> Response:
    return JSONResponse(metadata.server())


async def _live(_: Service, __: Request) -> Response:
    return JSONResponse({"live": True})


async def _ready(service: Service, _: Request) -> Response:
    service.readiness.require()
    return JSONResponse({"ready": True})


async def _model_ready(service: Service, request: Request) -> Response:
    model = addressed_model(service, request)
    service.readiness.require()
    return JSONResponse({"name": model.spec.name, "ready": True})


async def _metadata(service: Service, request: Request) -> Response:
    return JSONResponse(metadata.metadata(addressed_model(service, request)))


async def _config(service: Service, request: Request) -> Response:
    return JSONResponse(metadata.config(addressed_model(service, request).graph))


async def _statistics(service: Service, request: Request) -> Response:
    named = "model" in request.path_params
    models = [addressed_model(service, request)] if named else service.models.values()
    return JSONResponse(metadata.statistics(model.metrics for model in models))


async def _metrics(service: Service, _: Request) -> Response:
    return Response(await service.tell_metrics(), media_type="text/plain; version=0.0.4")


async def _refused(_: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    headers = {"Retry-After": "1"} if refusal.status in (429, 503) else None
    return JSONResponse({"error": str(refusal)}, refusal.status, headers)


async def _failed(_: Request, failure: Exception) -> Response:
    log.error("%s", failure)
    return JSONResponse({"error": "the engine failed; the server's log says why"}, 500)


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _broken(_: Request, __: Exception) -> Response:
    return JSONResponse({"error": BROKEN}, 500)
