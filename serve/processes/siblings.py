"""What one worker knows of the others: their figures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

import anyio
import anyio.to_thread
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from serve.models.service import Service

Face = Callable[[Service], AbstractAsyncContextManager[None]]
_SECONDS = 2.0
"""How long another worker may take to tell its figures."""


def told_to_siblings(face: Face, folder: Path, number: int, count: int) -> Face:
    """`face`, and beside it /metrics of all workers: each tells its own on a socket in `folder`.

    Each figure gets the label `worker`. A sum of them would fall when a worker is replaced, and
    Prometheus takes a figure that falls for one that began anew; so it must add, not the server.
    """

    @asynccontextmanager
    async def both(service: Service) -> AsyncGenerator[None]:
        async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError):
                writer.write(service.metrics.text())
                await writer.drain()
            writer.close()

        async def of_all() -> bytes:
            numbers = [each for each in range(count) if each != number]
            texts = await asyncio.gather(*(_asked(_place(folder, each)) for each in numbers))
            told = {each: text for each, text in zip(numbers, texts, strict=True) if text}
            told[number] = service.metrics.text().decode()
            return await anyio.to_thread.run_sync(merged, told)

        server = await asyncio.start_unix_server(tell, _place(folder, number))
        service.tell_metrics = of_all
        async with server, face(service):
            yield

    return both


def merged(texts: Mapping[int, str]) -> bytes:
    """Several workers' figures in Prometheus' text format as one, each with its worker's number."""
    families: dict[str, Metric] = {}
    for number, text in sorted(texts.items()):
        for family in text_string_to_metric_families(text):
            new = Metric(family.name, family.documentation, family.type)
            into = families.setdefault(family.name, new)
            for sample in family.samples:
                labels = {**sample.labels, "worker": str(number)}
                into.add_sample(sample.name, labels, sample.value)
    registry = CollectorRegistry()
    registry.register(_Families(families))
    return generate_latest(registry)


class _Families(Collector):
    def __init__(self, families: Mapping[str, Metric]) -> None:
        self._families = families

    def collect(self) -> Generator[Metric]:
        yield from self._families.values()


def _place(folder: Path, number: int) -> Path:
    return folder / f"worker-{number}"


async def _asked(place: Path) -> str:
    """What a worker tells, or nothing: it may be one that is being replaced."""
    with suppress(OSError):
        with anyio.move_on_after(_SECONDS):
            reader, writer = await asyncio.open_unix_connection(place)
            try:
                return (await reader.read()).decode()
            finally:
                writer.close()
    return ""
