"""A bundle on the device at hand: everything that was promised of it, tried again here."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.bundle import Bundle
from roadshift import Failure
from serve.device_check.arithmetic import check_precision
from serve.device_check.device_report import DeviceReport, DrawingReport, PrecisionReport
from serve.device_check.latency import latency
from serve.device_check.placement import placement
from serve.device_check.through_bytes import check_bytes
from serve.runtime.byte_products import told
from serve.runtime.engine import Engine
from serve.runtime.image_graphs import ImageGraph, image_graphs_of
from serve.runtime.onnx_runtime import Runtime

MIN_ROUTES_AGREE = 0.9999
"""Of a frame's labels: ties within rounding may fall either way, and nothing else may."""


def check_device(
    bundle: Bundle,
    *,
    provider: str = "cpu",
    precisions: Sequence[str] = ("fp32",),
    threads: int = 0,
    runs: int = 20,
) -> DeviceReport:
    """Runs the bundle's graphs on `provider` and returns what came out.

    Needs the files that `bundle.files` lists in its folder, and no manifest. Raises Failure at the
    first thing that is not as promised: a graph that does not load, has another interface or does
    not run on the provider, a golden frame that comes out otherwise, routes that differ. Raises
    UserError for a precision that the bundle lacks.
    """
    checked = tuple(_precision(bundle, provider, threads, p, runs) for p in precisions)
    drawings = image_graphs_of(bundle, provider=provider, threads=threads)
    return DeviceReport(
        bundle=bundle.name,
        provider=provider,
        threads=threads,
        runtime=f"ONNX Runtime {Runtime(provider, threads).version}",
        machine=f"{platform.system()} {platform.machine()}{told() if provider == 'cpu' else ''}",
        precisions=checked,
        drawings=tuple(map(_drawing, drawings)),
    )


def _precision(
    bundle: Bundle, provider: str, threads: int, precision: str, runs: int
) -> PrecisionReport:
    device: dict[str, Any] = {"provider": provider, "threads": threads, "precision": precision}
    engine = Engine(bundle, **device)
    frame = bundle.golden()[0].image
    placed = placement(engine, frame[None])
    placed.check()
    what = engine.sessions.what
    share = check_precision(engine.sessions.read(), precision, frame.shape[:2], what)
    second, agree = None, None
    if bundle.route == "exact":
        other = "dense" if engine.route == "exact" else "exact"
        second = Engine(bundle, **device, route=other)
        agree = _routes_agree(engine if engine.route == "dense" else second)
    reproduced = engine.reproduce(outputs=True)
    check_bytes(engine)
    golden = {engine.route: reproduced.agreement}
    if second is not None:
        golden[second.route] = second.reproduce(outputs=True).agreement
    return PrecisionReport(
        precision=precision,
        lowered=share,
        route=engine.route,
        why=engine.why,
        golden=golden,
        classes={name: one.agreement for name, one in reproduced.classes.items()},
        confidence=reproduced.confidence,
        logits=reproduced.logits,
        routes_agree=agree,
        placement=placed,
        latency=latency(engine, frame, runs, placed=placed),
    )


def _routes_agree(engine: Engine) -> float:
    """The share of labels in which two routes agree on the worst frame; Failure for too few.

    Of `engine`, whose route is the dense one, both are asked about the same logits: in INT8 the
    last bit of a resized picture already changes others.
    """
    worst = 1.0
    for image in _frames(engine.bundle):
        answer = engine.run(image[None], ["labels", "logits"])
        exact = engine.upsampled(answer["logits"], image.shape[:2])
        worst = min(worst, float(np.mean(answer["labels"] == exact)))
    if worst < MIN_ROUTES_AGREE:
        raise Failure(
            f"bundle {engine.bundle.name}: in {engine.precision} the exact and the dense route "
            f"agree in {worst:.4%} of a frame's labels; wanted {MIN_ROUTES_AGREE:.2%}: the "
            "manifest says otherwise than the graph how logits are upsampled, or the graph's "
            "labels are not those of its logits; export the run again"
        )
    return worst


def _frames(bundle: Bundle) -> Iterator[NDArray[np.uint8]]:
    """The golden frames, and others [h,w,3] in which more classes may win: these upside down, and
    blocks of random colours."""
    images = [golden.image for golden in bundle.golden()]
    yield from images
    yield from (np.ascontiguousarray(image[::-1]) for image in images)
    height, width = images[0].shape[:2]
    random = np.random.default_rng(0)
    for side in (8, 32):
        colours = random.integers(0, 256, (-(-height // side), -(-width // side), 3), np.uint8)
        blocks = colours.repeat(side, 0).repeat(side, 1)[:height, :width]
        yield np.ascontiguousarray(blocks)


def _drawing(drawing: ImageGraph) -> DrawingReport:
    placed = placement(drawing, drawing.bundle.golden_drawn(drawing.spec)[0].given[None])
    placed.check()
    psnr = drawing.check_golden()
    return DrawingReport(
        kind=drawing.spec.kind, psnr=None if math.isinf(psnr) else psnr, placement=placed
    )
