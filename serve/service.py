"""What all routes share: the engine, the limits, who waits, and whether the server is ready."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request

from roadshift import UserError
from serve import describe
from serve.admission import Admission, Tally
from serve.engine import Engine
from serve.limits import Limits, Refusal


class Service:
    """One engine as a server offers it. `unready` says why it is not ready, or is None."""

    def __init__(self, engine: Engine, limits: Limits) -> None:
        self.engine = engine
        self.limits = limits
        self.model = describe.model_spec(engine)
        self.admission = Admission(limits.waiting)
        self.success, self.fail = Tally(), Tally()
        self.unready: str | None = "the golden frames have not been checked yet"

    def require_ready(self) -> None:
        """Raises Refusal 503."""
        if self.unready is not None:
            raise Refusal(503, f"not ready: {self.unready}")

    def require_model(self, request: Request) -> None:
        """Raises Refusal 404 unless the address names this very model and version."""
        name = request.path_params["model"]
        version = request.path_params.get("version", self.model.version)
        if name != self.model.name:
            raise Refusal(404, f"unknown model {name[:80]!r}: this server has {self.model.name!r}")
        if version != self.model.version:
            raise Refusal(
                404,
                f"unknown version {version[:80]!r} of {name!r}: there is {self.model.version!r}",
            )

    @contextmanager
    def place(self) -> Generator[None]:
        """A place in the queue, held while a request is read, run and answered.

        Raises Refusal: 503 while not ready, 429 when no place is free.
        """
        began = time.perf_counter_ns()
        tally = self.fail
        try:
            self.require_ready()
            with self.admission.place():
                yield
            tally = self.success
        finally:
            tally.add(began)

    def check(self, shape: tuple[int, ...]) -> None:
        """Raises Refusal: 413 for more pixels than the limit, 400 for another size."""
        count = shape[0] * shape[1] * shape[2]
        if count > self.limits.pixels:
            raise Refusal(
                413, f"the images have {count} pixels together; at most {self.limits.pixels}"
            )
        try:
            self.engine.check(shape)
        except UserError as error:
            raise Refusal(400, str(error)) from error

    async def run(
        self,
        request: Request,
        images: NDArray[np.uint8],
        wanted: list[str],
        deadline: float | None,
    ) -> dict[str, NDArray[Any]]:
        """The wanted outputs for images [n,h,w,3], when their turn has come; raises Refusal."""
        self.check(images.shape)
        call = lambda: self.engine.run(images, wanted)  # noqa: E731 - a thread runs it later
        return await self.admission.run(call, deadline, request.is_disconnected)

    def tallies(self) -> dict[str, Tally]:
        """The counters of Triton's statistics."""
        return {
            "success": self.success,
            "fail": self.fail,
            "queue": self.admission.queue,
            "compute_infer": self.admission.compute,
        }


def deadline_of(arrived: float, timeout: float | None) -> float | None:
    """The event loop's time at which a request of that timeout (seconds) is too late."""
    return None if timeout is None else arrived + timeout


def now() -> float:
    """The event loop's time."""
    return asyncio.get_running_loop().time()
