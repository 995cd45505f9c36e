"""A bundle on the device at hand: everything that was promised of it, tried again here."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from typing import Any

from export.bundle import Bundle
from serve.device_check.arithmetic import check_precision, known_share
from serve.device_check.consistency import check_batch, check_enlarged, routes_agree
from serve.device_check.device_report import DeviceReport, DrawingReport, PrecisionReport
from serve.device_check.latency import latency
from serve.device_check.placement import placement
from serve.device_check.through_bytes import check_bytes
from serve.runtime.byte_products import told
from serve.runtime.engine import Engine
from serve.runtime.image_graphs import ImageGraph, image_graphs_of
from serve.runtime.onnx_runtime import Runtime


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
    known = known_share(bundle.checks, precision)
    share = check_precision(engine.sessions.read(), precision, frame.shape[:2], what, known)
    second, agree = None, None
    if bundle.route == "exact":
        other = "dense" if engine.route == "exact" else "exact"
        second = Engine(bundle, **device, route=other)
        agree = routes_agree(engine if engine.route == "dense" else second)
    check_batch(engine)
    check_enlarged(engine)
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


def _drawing(drawing: ImageGraph) -> DrawingReport:
    placed = placement(drawing, drawing.bundle.golden_drawn(drawing.spec)[0].given[None])
    placed.check()
    psnr = drawing.check_golden()
    return DrawingReport(
        kind=drawing.spec.kind, psnr=None if math.isinf(psnr) else psnr, placement=placed
    )
