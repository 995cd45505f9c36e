"""What all routes share: the models, the limits, who waits, and whether the server is ready."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from roadshift import UserError
from serve.limits import Limits, Refusal
from serve.models.batcher import Batcher, Outputs, SharedDevice
from serve.models.byte_budget import ByteBudget
from serve.models.catalogue import Catalogue, Model
from serve.models.drift import Drift
from serve.models.metrics import Metrics, RequestStage
from serve.models.model_spec import model_spec
from serve.models.readiness import Readiness
from serve.models.repository import Opener, Repository, golden_words
from serve.models.self_check.monitor import SelfCheckMonitor
from serve.models.self_check.self_check import self_check_of
from serve.models.tallies import reason_of
from serve.models.workers import Workers, until
from serve.runtime.engine import Engine
from serve.runtime.graph import Graph

T = TypeVar("T")


class Service:
    """The graphs of one or more bundles as a server offers them; all share one device.

    Each has its own line before the device. Decoding and encoding happen beside it, in threads of
    their own. Raises UserError for two graphs of one name.
    """

    def __init__(
        self, graphs: Sequence[Graph], limits: Limits, openers: Mapping[str, Opener] | None = None
    ) -> None:
        """`openers` are those of bundles that clients may load again; see Repository."""
        self._asked = limits
        self.metrics = Metrics()
        self.bodies = ByteBudget(limits.all_bodies_bytes)
        cores = os.cpu_count() or 1
        at_once = limits.waiting + limits.max_batch
        self._decoders = Workers("being decoded or waiting for it", cores, limits.waiting)
        self._encoders = Workers("being encoded or waiting for it", cores, at_once)
        self._device = SharedDevice()
        self.catalogue = Catalogue(self._model)
        self.monitor = SelfCheckMonitor(
            self.catalogue, self._encoders, self.metrics.registry, limits.monitor_every
        )
        self.repository = Repository(self.catalogue, openers or {})
        for name in dict.fromkeys(graph.bundle.name for graph in graphs):
            self.catalogue.put(name, [graph for graph in graphs if graph.bundle.name == name])
        self.readiness = Readiness(limits.grace_seconds)
        self.tell_metrics: Callable[[], Awaitable[bytes]] = self._tell_metrics
        """What /metrics says: this process's figures, and those of others that share its port."""
        self.streams = 0
        self.metrics.gauge("roadshift_streams", "Open streams", lambda: self.streams)
        self.metrics.gauge(
            "roadshift_body_bytes", "Bytes of bodies under way", lambda: self.bodies.used
        )

    @property
    def limits(self) -> Limits:
        """The bounds of a request, with those of the bundles that are loaded now."""
        return self._asked.of(*(model.graph.bundle for model in self.catalogue.segmentors))

    @property
    def models(self) -> dict[str, Model]:
        """All that is loaded, by name."""
        return self.catalogue.models

    @property
    def segmentor(self) -> Model:
        """The one that is asked where none is named; Refusal 503 when all are unloaded."""
        for model in self.catalogue.segmentors:
            return model
        raise Refusal(503, "all models are unloaded")

    def _model(self, graph: Graph, version: str) -> Model:
        spec = model_spec(graph, version)
        metrics = self.metrics.of_model(spec.name, spec.version)
        line = Batcher(graph, self._device, self.limits, metrics)
        metrics.pending = lambda: line.taken
        looked_at = isinstance(graph, Engine)
        drift = Drift(graph.bundle, self.metrics.drift) if looked_at else None
        self_check = self_check_of(graph.bundle) if looked_at else None
        return Model(graph, spec, metrics, line, drift, self_check)

    def model_of(self, name: str, version: str | None = None) -> Model:
        """The model of that name; Refusal as Catalogue.model_of."""
        return self.catalogue.model_of(name, version)

    @contextmanager
    def accounted(self, model: Model) -> Generator[None]:
        """Counts what becomes of the request inside.

        Raises Refusal: 503 while not ready, 429 when the model's line is full already.
        """
        began = time.perf_counter_ns()
        tallies, failures = model.metrics.tallies, model.metrics.counts.failures
        model.under_way += 1
        try:
            self.readiness.require()
            model.line.require_room()
            yield
        except BaseException as error:
            reason = reason_of(error)
            failures[reason] += 1
            (tallies.cancel if reason == "CANCELED" else tallies.fail).add(began)
            raise
        finally:
            model.under_way -= 1
        tallies.success.add(began)

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

    async def decode(self, model: Model, call: Callable[[], T], deadline: float | None) -> T:
        """`call()` in a thread for decoding, counted as the model's. Refusal 429, 504."""
        with until(deadline, "while it was decoded: it was not run"):
            return await self._timed(self._decoders, model, "compute_input", call)

    async def run(
        self,
        model: Model,
        values: NDArray[np.uint8],
        wanted: Sequence[str],
        deadline: float | None,
        *,
        first: bool = False,
    ) -> Outputs:
        """The wanted outputs for the input [n,h,w,...], when their turn has come: before all others
        that wait and are not `first`, if it is.

        Raises Refusal: 400 and 413 as `check`, 429 when the model's line is full, 504 when
        `deadline` (of the event loop's time) comes first. Cancelling leaves the line.
        """
        self.check(model, values.shape)
        outputs = await model.line.run(values, wanted, deadline, first=first)
        if model.drift is not None:
            model.drift.see(values, outputs)
            self.monitor.see(model, values, outputs)
        return outputs

    async def encode(self, model: Model, call: Callable[[], T], deadline: float | None) -> T:
        """`call()` in a thread for encoding, counted as the model's. Refusal 504."""
        with until(deadline, "while the answer was encoded"):
            return await self._timed(self._encoders, model, "compute_output", call)

    async def _timed(
        self, workers: Workers, model: Model, stage: RequestStage, call: Callable[[], T]
    ) -> T:
        began = time.perf_counter_ns()
        answer = await workers.run(call)
        model.metrics.stage(stage, began)
        return answer

    def check_golden(self) -> str:
        """Whether every graph reproduces the golden frames, in words; Failure when one does not.

        And reads of them what usual frames look like.
        """
        self.catalogue.prepare()
        return golden_words([model.graph for model in self.models.values()])

    async def _tell_metrics(self) -> bytes:
        return await anyio.to_thread.run_sync(self.metrics.text)

    def close(self) -> None:
        """Ends the threads that wait for work."""
        for workers in (self._decoders, self._encoders, self._device.thread):
            workers.close()
