"""`roadshift export`: a run in, a verified bundle out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from adapt.checkpoint import read
from adapt.run import parse_size
from export.bundle import check_destination
from export.frames import frames_with_labels, frames_without_labels
from export.make import make_bundle
from roadshift import UserError


def export(
    run: Path,
    *,
    out: Path,
    size: str | None = None,
    frames: str | None = None,
    data: str | None = None,
    count: int = 12,
    which: Annotated[Literal["last", "best"], Parameter(name="--checkpoint")] = "last",
) -> None:
    """Make a verified bundle of a trained run.

    Parameters
    ----------
    run
        the run's folder (`roadshift adapt --out`)
    out
        the bundle's folder; a bundle that is there is replaced once the new one is verified
    size
        HEIGHTxWIDTH for a graph of that size only; every size (dynamic) by default
    frames
        images on which graph and network are compared; the run's target by default
    data
        labelled images instead, to see how mIoU changes as well
    count
        how many of them, evenly spread
    which
        last (the headline), or best (selected on target labels)
    """
    fixed = parse_size("" if size in {None, "dynamic"} else str(size), "size")
    if frames and data:
        raise UserError("--frames and --data both say what to compare on: give one of them")
    if count < 1:
        raise UserError(f"--count is {count}; the graph must be compared on one frame at least")
    check_destination(out)
    saved = read(run, which)
    chosen = (
        frames_with_labels(data, saved.info.classes)
        if data
        else frames_without_labels(frames or saved.info.target)
    )
    bundle = make_bundle(saved, chosen.spread(count), out, size=fixed)
    console = Console(soft_wrap=True)
    for table in _tables(bundle.checks, bool(data)):
        console.print(table)
    equal = "Each graph is its" if bundle.has_reconstructor else "The graph is the"
    console.print(f"{equal} network; bundle written: {bundle.folder}", markup=False)


def _tables(checks: dict[str, Any], labelled: bool) -> Iterator[Table]:
    """What came out at each size: of the segmentor, and of the reconstructor where there is one."""
    table = Table("size", "frames", "largest logit error", "labels equal", "mIoU change")
    for check in checks["sizes"]:
        before, after, between = (check[f"miou_{k}"] for k in ("torch", "graph", "between"))
        table.add_row(
            _times(check),
            str(check["frames"]),
            f"{check['logit_error_max']:.1e} of {check['logit_range']:.3g}",
            f"{check['agreement']:.4%}",
            f"{after - before if labelled else between - 100:+.3f}",
        )
    yield table
    if "reconstructor" in checks:
        table = Table("size", "label maps", "rebuilt images differ by up to", "PSNR")
        for check in checks["reconstructor"]["sizes"]:
            psnr = "equal" if check["psnr"] is None else f"{check['psnr']:.1f} dB"
            table.add_row(_times(check), str(check["maps"]), f"{check['off_most']} of 255", psnr)
        yield table


def _times(check: dict[str, Any]) -> str:
    return f"{check['size'][0]}x{check['size'][1]}"
