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
from export.bundle import SIGNATURE, Bundle, check_destination
from export.bundle.graphs import drawing_graphs
from export.bundle.reproduction import EVIDENCE
from export.bundle.trust import signer
from export.cli.precision_options import Lower
from export.frames import frames_with_labels, frames_without_labels
from export.graph.joined_reconstructor import joined
from export.make import make_bundle
from export.precision.budget import Budget
from export.precision.search import BudgetError
from export.report.precision_curve import curve
from export.triton.repository import write_repository
from roadshift import Failure, UserError, hxw, replacing

Flat = Parameter(name="*")


def export(
    run: Path,
    *,
    out: Path,
    size: str | None = None,
    frames: str | None = None,
    data: str | None = None,
    count: int = 12,
    which: Annotated[Literal["last", "best"], Parameter(name="--checkpoint")] = "last",
    lower: Annotated[Lower, Flat] = Lower(),
    reconstructor: Path | None = None,
    triton: Path | None = None,
    sign: Path | None = None,
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
        last (the result), or best (of --keep-best-by, or selected on target labels)
    sign
        an Ed25519 private key (PEM) to sign the bundle's digest with
    reconstructor
        a run of ldr (its stage pretrain is enough) whose reconstructor goes into the bundle, for
        the server's self-check; classes are matched by name
    triton
        also a model repository for Triton, in fp16 where the bundle has it, else in fp32: Triton's
        ONNX Runtime gains nothing by the int8 file, which is for plans (roadshift engine)
    """
    fixed = parse_size("" if size in {None, "dynamic"} else str(size), "size")
    if frames and data:
        raise UserError("--frames and --data both say what to compare on: give one of them")
    if count < 1:
        raise UserError(f"--count is {count}; the graph must be compared on one frame at least")
    precisions = lower.precisions()
    check_destination(out)
    signed = signer(sign) if sign else None  # a key that is none should say so now
    saved = read(run, which)
    if reconstructor is not None:
        saved = joined(saved, reconstructor)
    spec = frames or saved.info.target
    chosen = (
        frames_with_labels(data, saved.info.classes, saved.info.class_map)
        if data
        else frames_without_labels(spec)
    )
    lowering = lower.lowering(run, saved.info, count if data is None else 0) if precisions else None
    console = Console(soft_wrap=True)
    try:
        bundle = make_bundle(
            saved,
            chosen.spread(count),
            out,
            size=fixed,
            lowering=lowering,
            say=lambda line: console.print(line, markup=False, highlight=False),
        )
    except BudgetError as error:
        raise _with_curve(error, out, lower.budget) from error
    for table in _tables(bundle.checks, bool(data)):
        console.print(table)
    if missing := bundle.checks["no_evidence"]:
        console.print(
            f"no evidence for: {', '.join(missing)} (fewer than {EVIDENCE} pixels in the golden "
            "frames): compare on more frames with --count, or on others with --frames",
            markup=False,
        )
    if triton is not None:
        precision = [name for name in bundle.precisions if name != "int8"][-1]
        names = write_repository(bundle, triton, precision=precision)
        console.print(f"Triton repository written: {triton} ({', '.join(names)})", markup=False)
    console.print(f"{_equal(bundle)} bundle written: {bundle.folder}", markup=False)
    if signed is not None:
        with replacing(bundle.folder / SIGNATURE) as part:
            part.write_bytes(signed(bundle.digest))
    console.print(f"its digest, for --digest: {bundle.digest}", markup=False, soft_wrap=True)


def _equal(bundle: Bundle) -> str:
    several = len([name for name in bundle.files if name.endswith(".onnx")]) > 1
    if len(bundle.precisions) > 1:
        return "fp32 is the network, the rest holds the budget;"
    return f"{'Each graph is its' if several else 'The graph is the'} network;"


def _with_curve(error: BudgetError, out: Path, budget: Budget) -> Failure:
    """The same error, once its curve lies beside where the bundle would have been."""
    path = out.with_name(f"{out.name}.budget.svg")
    with replacing(path) as part:
        part.write_text(curve(error.trail, budget))
    return Failure(f"{error}; no bundle was written, and what each step gave is drawn in {path}")


def _tables(checks: dict[str, Any], labelled: bool) -> Iterator[Table]:
    """What came out at each size: of the segmentor, and of the graphs that draw."""
    heads = ("precision", "size", "frames", "largest logit error", "labels equal", "mIoU change")
    table = Table(*heads)
    for precision, made in checks["precisions"].items():
        for check in made["sizes"]:
            before, after, between = (check[f"miou_{k}"] for k in ("torch", "graph", "between"))
            table.add_row(
                precision,
                hxw(check["size"]),
                str(check["frames"]),
                f"{check['logit_error_max']:.1e} of {check['logit_range']:.3g}",
                f"{check['agreement']:.4%}",
                f"{after - before if labelled else between - 100:+.3f}",
            )
    yield table
    for graph in drawing_graphs():
        if graph.kind in checks:
            table = Table("size", "pictures", f"the {graph.kind}'s differ by up to", "PSNR")
            for check in checks[graph.kind]["sizes"]:
                psnr = "equal" if check["psnr"] is None else f"{check['psnr']:.1f} dB"
                off = f"{check['off_most']} of 255"
                table.add_row(hxw(check["size"]), str(check["pictures"]), off, psnr)
            yield table
