"""What the server counts, under Triton's names where they mean the same; for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Literal, NamedTuple, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from serve.models.drift import DriftMetrics
from serve.models.tallies import Counts, Tallies

RequestStage: TypeAlias = Literal["compute_input", "queue", "compute_infer", "compute_output"]
STAGES: dict[RequestStage, str] = {
    "compute_input": "decode",
    "queue": "queue",
    "compute_infer": "infer",
    "compute_output": "encode",
}
"""Triton's names of what happens to a request, and ours."""
Trace: TypeAlias = Callable[[str, str, int], None]
"""Told of a model, a stage by our name, and when it began (time.perf_counter_ns)."""
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class ModelMetrics:
    """One model's figures."""

    def __init__(
        self, name: str, version: str, seconds: Histogram, batches: Histogram, trace: Trace
    ) -> None:
        self.name, self.version = name, version
        self.tallies, self.counts = Tallies(), Counts()
        self._seconds, self._batches, self._trace = seconds, batches, trace
        self.pending: Callable[[], int] = lambda: 0
        """How many requests are being run or waiting."""

    def stage(self, stage: RequestStage, since_ns: int) -> None:
        """Counts and traces a stage of the request that asks for it.

        It began at `since_ns` of time.perf_counter_ns.
        """
        self._count(stage, since_ns)
        self.trace(stage, since_ns)

    def trace(self, stage: RequestStage, since_ns: int) -> None:
        """Traces a stage that is counted with others', as one call of the engine for several is."""
        self._trace(self.name, STAGES[stage], since_ns)

    def ran(self, images: int, since_ns: int) -> None:
        """Counts one call of the engine."""
        self._count("compute_infer", since_ns)
        self.counts.images += images
        self.counts.executions += 1
        self._batches.labels(self.name).observe(images)

    def _count(self, stage: RequestStage, since_ns: int) -> None:
        took = getattr(self.tallies, stage).add(since_ns)
        self._seconds.labels(self.name, STAGES[stage]).observe(took / 1e9)


class Metrics:
    """A server's figures; `registry` takes those of a transport too."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.on_stage: Trace = lambda *_: None
        self._models: list[ModelMetrics] = []
        self._seconds = Histogram(
            "roadshift_stage_seconds",
            "Seconds that requests spent in each stage",
            ["model", "stage"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._batches = Histogram(
            "roadshift_batch_images",
            "Images in one call of the engine",
            ["model"],
            buckets=(1, 2, 4, 8, 16, 32),
            registry=self.registry,
        )
        self.requests = Counter(
            "roadshift_http_requests",
            "Requests answered, by route and status",
            ["route", "status"],
            registry=self.registry,
        )
        self.frames = Counter(
            "roadshift_stream_frames",
            "Frames of streams: answered, refused, or dropped (a newer one came, the client left)",
            ["outcome"],
            registry=self.registry,
        )
        self.drift = DriftMetrics(self.registry)
        self.registry.register(_TritonNames(self._models))

    def of_model(self, name: str, version: str) -> ModelMetrics:
        """The figures of a model that is new to the server.

        They stay when another version takes its place, and go with the one after that.
        """
        old = [model for model in self._models if model.name == name][:-1]
        self._models[:] = [model for model in self._models if model not in old]
        made = ModelMetrics(name, version, self._seconds, self._batches, self._trace)
        self._models.append(made)
        return made

    def _trace(self, model: str, stage: str, since_ns: int) -> None:
        self.on_stage(model, stage, since_ns)

    def gauge(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """A figure that is read when it is asked for."""
        Gauge(name, meaning, registry=self.registry).set_function(read)

    def text(self) -> bytes:
        """All of it in Prometheus' text format, version 0.0.4."""
        return generate_latest(self.registry)


class _Row(NamedTuple):
    name: str
    meaning: str
    read: Callable[[ModelMetrics], float]


_ROWS = (
    _Row("request_success", "Requests answered", lambda m: m.tallies.success.count),
    _Row("count", "Images run", lambda m: m.counts.images),
    _Row("exec_count", "Calls of the engine", lambda m: m.counts.executions),
    _Row("request_duration_us", "All of it", lambda m: m.tallies.success.ns / 1e3),
    _Row("queue_duration_us", "Waiting for the engine", lambda m: m.tallies.queue.ns / 1e3),
    _Row("compute_input_duration_us", "Decoding", lambda m: m.tallies.compute_input.ns / 1e3),
    _Row("compute_infer_duration_us", "At the engine", lambda m: m.tallies.compute_infer.ns / 1e3),
    _Row("compute_output_duration_us", "Encoding", lambda m: m.tallies.compute_output.ns / 1e3),
    _Row("pending_request_count", "Being run or waiting", lambda m: m.pending()),
)


class _TritonNames(Collector):
    """Triton's names of metrics; they lack the suffix `_total`, hence untyped."""

    def __init__(self, models: Iterable[ModelMetrics]) -> None:
        self._models = models

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Generator[Metric]:
        for row in _ROWS:
            metric = Metric("nv_inference_" + row.name, row.meaning, "unknown")
            for model in self._models:
                labels = {"model": model.name, "version": model.version}
                metric.add_sample(metric.name, labels, row.read(model))
            yield metric
        failures = Metric("nv_inference_request_failure", "Requests not answered", "unknown")
        for model in self._models:
            for reason, count in model.counts.failures.items():
                labels = {"model": model.name, "version": model.version, "reason": reason}
                failures.add_sample(failures.name, labels, count)
        yield failures
