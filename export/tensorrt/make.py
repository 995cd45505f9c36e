"""A bundle becomes a plan for the GPU at hand, verified there, or the reason is given why not."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from export.bundle import Bundle
from export.bundle.plan_file import (
    AMPERE,
    Device,
    Sidecar,
    manifest_hash,
    numbers,
    sha256,
    write_plan,
)
from export.tensorrt.build import build
from export.tensorrt.options import Wish, check
from export.tensorrt.progress import Shown
from export.tensorrt.uint8_border import at_border
from roadshift import UserError
from serve.runtime.graph_content import checked
from serve.runtime.rewrites.prune import pruned
from serve.runtime.tensorrt.bindings import tensorrt
from serve.runtime.tensorrt.cuda import Cuda
from serve.runtime.tensorrt.plan import Plan

WARM_UP, TIMED = 10, 100


def make_plan(bundle: Bundle, wish: Wish, out: Path, show: Shown) -> tuple[Path, Sidecar]:
    """Builds, verifies on the golden frames and writes to the folder `out`; path and page.

    Raises UserError for a wish or a folder that does not fit, Failure when TensorRT is missing or
    refuses, or when the plan is not the model any more; a plan that was there is then as it was.
    """
    check(wish, bundle)
    check_folder(out, bundle)
    trt, device = tensorrt(), Cuda().device()
    if wish.hardware_compatible and device.compute < AMPERE:
        raise UserError(
            f"--hardware-compatible needs Ampere (compute capability 8.0) or newer, and this is "
            f"{device.name} ({device.compute[0]}.{device.compute[1]}): leave it out"
        )
    graph = pruned(checked(bundle.path(wish.file(bundle))), [wish.output]).SerializeToString()
    graph = at_border(graph, wish.shape(1 if wish.batch == 1 else -1))
    where = f"{device.architecture}.trt{'.'.join(map(str, numbers(trt.__version__)[:3]))}"
    content = build(trt, graph, wish, out / f"timings.{where}.cache", show)
    page = _page(bundle, wish, device, trt.__version__, sha256(content))
    plan = Plan(content, page, bundle)
    try:
        page = replace(page, golden=plan.check_golden(), latency=_latency(plan, wish.shape(1)))
    finally:
        plan.close()
    path = out / f"{wish.name(bundle)}.{where}.plan"
    write_plan(path, content, page)
    return path, page


def check_folder(out: Path, bundle: Bundle) -> None:
    """Raises UserError unless plans can be written to `out`: a build takes minutes."""
    folder = out.absolute()
    if folder.resolve().is_relative_to(bundle.folder.resolve()):
        raise UserError(
            f"{out} is in the bundle, which holds nothing but what was verified: name another "
            "folder with --out"
        )
    above = next(place for place in (folder, *folder.parents) if place.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise UserError(f"cannot write to {out}: name another folder with --out")


def _page(bundle: Bundle, wish: Wish, device: Device, version: str, plan: str) -> Sidecar:
    """All that is known before the plan has run; `plan` is its hash."""
    file = wish.file(bundle)
    return Sidecar(
        bundle=bundle.name,
        manifest_sha256=manifest_hash(bundle),
        graph=wish.graph,
        precision=wish.precision,
        output=wish.output,
        size=wish.size,
        batch=wish.batch,
        onnx=file,
        onnx_sha256=bundle.files[file],
        plan_sha256=plan,
        gpu=device.name,
        compute=device.compute,
        driver=device.driver,
        cuda=device.cuda,
        tensorrt=version,
        version_compatible=wish.version_compatible,
        hardware_compatible=wish.hardware_compatible,
        options={
            "strongly_typed": True,
            "tf32": False,
            "optimization_level": wish.optimization_level,
            "workspace_mib": wish.workspace,
        },
        golden={},
        latency={},
    )


def _latency(plan: Plan, shape: tuple[int, ...]) -> dict[str, Any]:
    """Milliseconds from a frame in host memory to the plan's output there, one at a time."""
    frame = np.random.default_rng(0).integers(0, len(plan.bundle.classes), shape, dtype=np.uint8)
    wanted, times = [plan.sidecar.output], list[float]()
    for _ in range(WARM_UP + TIMED):
        began = time.perf_counter()
        plan.run(frame, wanted)
        times.append(1000 * (time.perf_counter() - began))
    p50, p95, p99 = (round(float(p), 3) for p in np.percentile(times[WARM_UP:], (50, 95, 99)))
    return {
        "runs": TIMED,
        "cuda_graph": plan.captured,
        "output": wanted[0],
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
    }
