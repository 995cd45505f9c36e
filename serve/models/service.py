"""What all routes share: the models, the limits, who waits, and whether the server is ready."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from roadshift import UserError
from serve.limits import Limits, Refusal
from serve.models.admission import Admission, Tallies
from serve.models.model_spec import ModelSpec, model_spec
from serve.runtime.engine import Engine
from serve.runtime.graph import Graph


class Model(NamedTuple):
    """One graph as the server offers it, and what became of the requests to it."""

    graph: Graph
    spec: ModelSpec
    tallies: Tallies


class Service:
    """A bundle's graphs as a server offers them; all wait in one queue, for one device.

    `unready` says why it is not ready, or is None.
    """

    def __init__(self, engine: Engine, drawings: Sequence[Graph], limits: Limits) -> None:
        self.engine = engine
        self.limits = limits.of(engine.bundle)
        self.models = {
            graph.name: Model(graph, model_spec(graph), Tallies()) for graph in (engine, *drawings)
        }
        self.segmentor = self.models[engine.name]
        self.admission = Admission(limits.waiting)
        self.unready: str | None = "the golden frames have not been checked yet"

    def require_ready(self) -> None:
        """Raises Refusal 503."""
        if self.unready is not None:
            raise Refusal(503, f"not ready: {self.unready}")

    def model_of(self, name: str, version: str | None = None) -> Model:
        """The model of that name; Refusal 404 for an unknown one, or for another version of it."""
        if name not in self.models:
            known = ", ".join(map(repr, self.models))
            raise Refusal(404, f"unknown model {name[:80]!r}: this server has {known}")
        model = self.models[name]
        if version not in (None, model.spec.version):
            raise Refusal(
                404,
                f"unknown version {version[:80]!r} of {name!r}: there is {model.spec.version!r}",
            )
        return model

    @contextmanager
    def place(self, model: Model) -> Generator[None]:
        """A place in the queue, held while a request is read, run and answered.

        Raises Refusal: 503 while not ready, 429 when no place is free.
        """
        began = time.perf_counter_ns()
        tally = model.tallies.fail
        try:
            self.require_ready()
            with self.admission.place():
                yield
            tally = model.tallies.success
        finally:
            tally.add(began)

    def check(self, model: Model, shape: tuple[int, ...]) -> None:
        """Raises Refusal: 413 for more pixels than the limit, 400 for another size."""
        count, most = model.graph.pixels(shape), self.limits.pixels
        if most is not None and count > most:
            raise Refusal(
                413,
                f"the images have {count} pixels together; at most {most} are taken, and each "
                "counts at least as large as the network works: send fewer or smaller ones",
            )
        try:
            model.graph.check(shape)
        except UserError as error:
            raise Refusal(400, str(error)) from error

    async def run(
        self,
        model: Model,
        values: NDArray[np.uint8],
        wanted: list[str],
        deadline: float | None,
        is_gone: Callable[[], Awaitable[bool]],
    ) -> dict[str, NDArray[Any]]:
        """The wanted outputs for the input [n,h,w,...], when their turn has come; or Refusal.

        `is_gone` tells whether the client has left; it is asked once, before the engine is used.
        """
        self.check(model, values.shape)
        call = lambda: model.graph.run(values, wanted)  # noqa: E731 - a thread runs it later
        return await self.admission.run(call, deadline, is_gone, model.tallies)

    def check_golden(self) -> str:
        """Whether every graph reproduces the golden frames, in words; Failure when one does not."""
        graphs = [model.graph for model in self.models.values()]
        return "; ".join(graph.golden_text.format(graph.check_golden()) for graph in graphs)


def deadline_of(arrived: float, timeout: float | None) -> float | None:
    """The event loop's time at which a request of that timeout (seconds) is too late."""
    return None if timeout is None else arrived + timeout


def now() -> float:
    """The event loop's time."""
    return asyncio.get_running_loop().time()
