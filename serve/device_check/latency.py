"""How long a frame takes on this device, stage by stage: a JPEG in, a PNG of its labels out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roadshift import UserError
from serve.device_check.placement import Placement, placement
from serve.media.codec import decode, encode_jpeg, encode_png
from serve.runtime.engine import Engine

STAGES = ("decode", "pre", "network", "post", "encode", "total")
WARM_UP = 3
QUALITY = 95


@dataclass(frozen=True, kw_only=True)
class Times:
    """Percentiles over the runs, in milliseconds."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, kw_only=True)
class Latency:
    """What one frame of `size` (height, width) took in each of STAGES, over `runs` runs.

    `pre` is what the host does to the frame (done once more for that, after the frame) and the part
    of the graph before its first convolution, and `post` the exact route's part on the host; either
    is None where it cannot be told from `network`, which then holds it. Copies to a GPU and back
    are in `network`.
    """

    size: tuple[int, int]
    runs: int
    stages: dict[str, Times | None]


def latency(
    engine: Engine, frame: NDArray[np.uint8], runs: int, *, placed: Placement | None = None
) -> Latency:
    """Times `runs` runs on a frame RGB [h,w,3], after some to warm up.

    `placed` is the engine's placement for that frame; it is found out when not given. Raises
    UserError for no run, and like Engine.run.
    """
    if runs < 1:
        raise UserError(f"runs is {runs}: wanted at least 1")
    before = (placed or placement(engine, frame[None])).before
    body = encode_jpeg(frame, QUALITY)
    taken = np.array([_once(engine, body, before) for _ in range(WARM_UP + runs)][WARM_UP:])
    stages = {
        name: None if np.isnan(column).any() else _times(column)
        for name, column in zip(STAGES, 1e3 * taken.T, strict=True)
    }
    return Latency(size=(frame.shape[0], frame.shape[1]), runs=runs, stages=stages)


def _once(engine: Engine, body: bytes, before: float | None) -> Sequence[float]:
    """Seconds of each of STAGES; NaN for one that cannot be told."""
    began = time.perf_counter()
    images = decode(body)[None]
    decoded = time.perf_counter()
    if engine.route == "exact":
        logits = engine.run(images, ["logits"])["logits"]
        ran = time.perf_counter()
        labels = engine.upsampled(logits, images.shape[1:3])
    else:
        labels = engine.segment(images).labels
        ran = time.perf_counter()
    labelled = time.perf_counter()
    encode_png(labels[0])
    ended = time.perf_counter()
    host = _preparing(engine, images)
    pre = host + (ran - decoded - host) * (np.nan if before is None else before)
    post = labelled - ran if engine.route == "exact" else np.nan
    network = ran - decoded - (0 if before is None else pre)
    return decoded - began, pre, network, post, ended - labelled, ended - began


def _preparing(engine: Engine, images: NDArray[np.uint8]) -> float:
    """Seconds that the host's part of the preparation takes; 0 where the graph does all of it."""
    if not (engine.route == "exact" and engine.sessions.prepares):
        return 0.0
    began = time.perf_counter()
    engine.sessions.prepared(images)
    return time.perf_counter() - began


def _times(values: NDArray[np.float64]) -> Times:
    p50, p95, p99 = (float(p) for p in np.percentile(values, (50, 95, 99)))
    return Times(p50=p50, p95=p95, p99=p99)
