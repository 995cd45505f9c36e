"""The stages of a frame; none of them is held to a time here."""

import json
from dataclasses import asdict

import numpy as np
import pytest

import serve.device_check.latency
from roadshift import UserError
from serve.device_check.latency import STAGES, WARM_UP, latency
from serve.device_check.placement import from_events, placement
from serve.runtime.engine import Engine

FRAME = np.full((32, 48, 3), 90, np.uint8)


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass between two looks at the clock: one more each time."""
    looks = iter(range(10_000))
    total = 0

    def look():
        nonlocal total
        total += next(looks)
        return total

    monkeypatch.setattr(serve.device_check.latency.time, "perf_counter", look)


def test_every_stage_of_every_run(exact):
    engine = Engine(exact, threads=1)
    found = latency(engine, FRAME, 4)
    assert (found.size, found.runs) == ((32, 48), 4)
    assert tuple(found.stages) == STAGES
    for times in found.stages.values():
        assert 0 < times.p50 <= times.p95 <= times.p99
    assert json.loads(json.dumps(asdict(found)))["stages"]["decode"].keys() == {"p50", "p95", "p99"}


def test_the_stages_add_up(exact, clock):
    engine = Engine(exact, threads=1)
    placed = placement(engine, FRAME[None])
    stages = latency(engine, FRAME, 1, placed=placed).stages
    # The run's five looks at the clock come after those of the runs that warm up.
    first = 6 * WARM_UP - WARM_UP
    decode, ran, post, encode = (1e3 * (first + k) for k in range(1, 5))
    assert stages["decode"].p50 == pytest.approx(decode)
    assert stages["pre"].p50 == pytest.approx(ran * placed.before)
    assert stages["network"].p50 == pytest.approx(ran * (1 - placed.before))
    assert stages["post"].p99 == pytest.approx(post)
    assert stages["encode"].p50 == pytest.approx(encode)
    assert stages["total"].p50 == pytest.approx(decode + ran + post + encode)


def test_what_cannot_be_told_apart_is_said_so(exact):
    began = {"cat": "Session", "name": "model_run", "ts": 0, "dur": 1}
    dense = Engine(exact, threads=1, route="dense")
    stages = latency(dense, FRAME, 2, placed=from_events([began], "cuda")).stages
    assert stages["pre"] is stages["post"] is None
    assert stages["network"].p50 <= stages["total"].p50


def test_no_run(exact):
    with pytest.raises(UserError, match="runs is 0: wanted at least 1"):
        latency(Engine(exact, threads=1), FRAME, 0)
