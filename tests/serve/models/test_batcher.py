"""The line before a device, without a server: what runs together, and what is not run."""

import asyncio
import threading

import numpy as np
import pytest

from roadshift import Failure
from serve.limits import Limits, Refusal
from serve.models.batcher import Batcher, SharedDevice
from serve.models.metrics import Metrics
from serve.models.workers import now
from serve.runtime.graph import TensorSpec


class Doubling:
    """A graph that doubles; it is held up until it is let go, and fails on 13."""

    inputs = (TensorSpec("image", "UINT8", (-1, -1, -1, 3)),)

    def __init__(self):
        self.gate, self.batches = threading.Event(), []

    def run(self, values, wanted):
        assert self.gate.wait(10)
        self.batches.append(values[:, 0, 0, 0].tolist())
        if 13 in values:
            raise Failure("thirteen")
        return dict.fromkeys(wanted, values[..., 0] * 2)


def images(*firsts, size=2):
    return np.stack([np.full((size, size, 3), first, np.uint8) for first in firsts])


def line_of(graph, **limits):
    metrics = Metrics().of_model("m", "1")
    return Batcher(graph, SharedDevice(), Limits(**limits), metrics), metrics


def ask(line, values, wanted=("labels",), deadline=None, first=False):
    return asyncio.create_task(line.run(values, list(wanted), deadline, first=first))


async def joined(line, count):
    while line.taken < count:
        await asyncio.sleep(0.001)


def test_what_waits_is_run_together_where_size_and_outputs_agree():
    graph = Doubling()

    async def run():
        line, metrics = line_of(graph, max_batch=3)
        first = ask(line, images(1))
        await joined(line, 1)
        others = [
            ask(line, images(2)),
            ask(line, images(3, size=4)),
            ask(line, images(4), ("confidence",)),
            ask(line, images(5, 6)),
            ask(line, images(7)),
        ]
        await joined(line, 6)
        graph.gate.set()
        answers = await asyncio.gather(first, *others)
        assert [a[next(iter(a))][:, 0, 0].tolist() for a in answers] == [
            [2], [4], [6], [8], [10, 12], [14],
        ]  # fmt: skip
        assert (metrics.counts.images, metrics.counts.executions) == (7, 5)
        assert metrics.tallies.queue.count == 6
        assert line.taken == 0

    asyncio.run(run())
    assert graph.batches == [[1], [2, 5, 6], [3], [4], [7]]


def test_only_the_guilty_one_fails():
    graph = Doubling()

    async def run():
        line, _ = line_of(graph, max_batch=4)
        first = ask(line, images(1))
        await joined(line, 1)
        good, bad, also_good = (ask(line, images(n)) for n in (2, 13, 3))
        await joined(line, 4)
        graph.gate.set()
        await first
        with pytest.raises(Failure, match="thirteen"):
            await bad
        assert (await good)["labels"][0, 0, 0] == 4
        assert (await also_good)["labels"][0, 0, 0] == 6

    asyncio.run(run())


def test_who_leaves_or_is_late_is_not_run_and_makes_room():
    graph = Doubling()

    async def run():
        line, _ = line_of(graph, waiting=2)
        first = ask(line, images(1))
        await joined(line, 1)
        leaving, late = ask(line, images(2)), ask(line, images(3), deadline=now() + 0.05)
        await joined(line, 3)
        with pytest.raises(Refusal, match="3 requests are being worked on or waiting"):
            await line.run(images(4), ["labels"], None)
        leaving.cancel()
        with pytest.raises(Refusal, match="before its turn came: it was not run"):
            await late
        assert line.taken == 1
        last = ask(line, images(5))
        await joined(line, 2)
        graph.gate.set()
        await asyncio.gather(first, last)

    asyncio.run(run())
    assert graph.batches == [[1], [5]]


def test_a_delay_waits_for_company():
    graph = Doubling()
    graph.gate.set()

    async def run():
        line, _ = line_of(graph, max_batch=2, batch_delay_ms=5000)
        first = ask(line, images(1))
        await joined(line, 1)
        await asyncio.sleep(0.01)
        assert not graph.batches
        await asyncio.gather(first, ask(line, images(2)))  # full: nobody waits for 5 s

    asyncio.run(run())
    assert graph.batches == [[1, 2]]


def test_a_delay_ends():
    graph = Doubling()
    graph.gate.set()

    async def run():
        line, _ = line_of(graph, max_batch=2, batch_delay_ms=20)
        await ask(line, images(1))

    asyncio.run(run())
    assert graph.batches == [[1]]


def test_a_graph_of_one_image_gets_one():
    graph = Doubling()
    graph.inputs = (TensorSpec("image", "UINT8", (1, 2, 2, 3)),)

    async def run():
        line, _ = line_of(graph, max_batch=4)
        asked = [ask(line, images(n)) for n in (1, 2, 3)]
        await joined(line, 3)
        graph.gate.set()
        await asyncio.gather(*asked)

    asyncio.run(run())
    assert graph.batches == [[1], [2], [3]]


def test_who_is_first_comes_before_others_and_behind_those_who_are():
    graph = Doubling()

    async def run():
        line, _ = line_of(graph)
        asked = [ask(line, images(1))]
        await joined(line, 1)
        for i, first in enumerate((False, True, False, True), 2):
            asked.append(ask(line, images(i), first=first))
            await joined(line, i)
        graph.gate.set()
        await asyncio.gather(*asked)
        assert graph.batches == [[1], [3], [5], [2], [4]]

    asyncio.run(run())
