"""`roadshift engine`: a bundle in, a TensorRT plan for the GPU at hand out."""

from __future__ import annotations

import logging
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from export.bundle.graphs import GRAPHS, LOGITS, GraphKind, Precision
from roadshift import UserError


def engine(  # the options are TensorRT's
    bundle: Path,
    /,
    *,
    size: str | None = None,
    precision: Precision = "fp32",
    batch: int = 1,
    graph: GraphKind = "segmentor",
    logits: bool = False,
    out: Path | None = None,
    version_compatible: bool = False,
    hardware_compatible: bool = False,
    optimization_level: int = 3,
    workspace: int | None = None,
) -> None:
    """Build a TensorRT plan on the device it will run on, and verify it there.

    Needs TensorRT 10.3 to 11 and cuda-bindings, no torch. Writes NAME.plan, as trtexec and Triton
    load it, and NAME.plan.json beside it.

    Parameters
    ----------
    bundle
        A folder made by `roadshift export`.
    size
        HEIGHTxWIDTH of the camera's frames; the bundle's own where it was exported for one.
    precision
        One of those that the bundle was exported in.
    batch
        The most images at a time.
    graph
        Which of the bundle's graphs.
    logits
        Give the low-resolution logits and leave the labels to the CPU, which takes them exactly.
    out
        The folder for the plan; BUNDLE.engines by default.
    version_compatible
        Run on newer TensorRT too; whoever loads it must trust it, for it holds code for the host.
    hardware_compatible
        Run on every GPU from Ampere on; slower.
    optimization_level
        0 (builds fast) to 5 (runs fast).
    workspace
        MiB of scratch memory that a layer may take; all by default.
    """
    from export.bundle import read_bundle  # noqa: PLC0415 - --help answers without loading these
    from export.tensorrt.make import make_plan  # noqa: PLC0415
    from export.tensorrt.options import Wish, size_for  # noqa: PLC0415

    logging.basicConfig(format="%(levelname)s: %(message)s")
    read = read_bundle(bundle)
    wish = Wish(
        graph=graph,
        precision=precision,
        output=LOGITS if logits else GRAPHS[graph].output,
        size=size_for(read, _parsed(size)),
        batch=batch,
        version_compatible=version_compatible,
        hardware_compatible=hardware_compatible,
        optimization_level=optimization_level,
        workspace=workspace,
    )
    folder = out or read.folder.with_name(f"{read.folder.name}.engines")
    console = Console(soft_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, transient=True, disable=not console.is_terminal) as bar:
        path, page = make_plan(read, wish, folder, _Phases(bar))
    worst, golden, latency = page.golden["worst"], page.golden, page.latency
    came = "equal" if worst is None else f"{worst:.1f} dB"
    came = f"{worst:.4%} of the labels equal" if golden["measure"] == "agreement" else came
    against = " and ".join(golden["against"])
    console.print(f"{golden['frames']} golden frame(s) against {against}: {came}", markup=False)
    recorded = "one CUDA graph" if latency["cuda_graph"] else "no CUDA graph"
    console.print(
        f"a frame takes {latency['p50_ms']:.2f} ms on {page.gpu} (p99 {latency['p99_ms']:.2f} ms, "
        f"copies included, {recorded})",
        markup=False,
    )
    console.print(f"Verified on this device; plan written: {path}", markup=False)


class _Phases:
    """TensorRT's phases as bars that come and go; rich takes calls from several threads."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, phase: str, done: int, total: int) -> None:
        if phase not in self._tasks:
            self._tasks[phase] = self._bar.add_task(phase, total=total)
        self._bar.update(self._tasks[phase], completed=done)
        if done >= total:
            self._bar.remove_task(self._tasks.pop(phase))


def _parsed(size: str | None) -> tuple[int, int] | None:
    if size is None:
        return None
    height, _, width = size.lower().partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise UserError(f"--size {size!r} is not a size; write HEIGHTxWIDTH, e.g. 512x1024")
    return int(height), int(width)
