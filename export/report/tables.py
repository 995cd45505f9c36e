"""The report's tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from export.bundle import Bundle
from export.bundle.reproduction import EVIDENCE
from export.precision.lower import Lowered
from export.report.document import Block, Figure, Heading, Points, Table, Text
from export.report.precision_curve import curve
from export.verification.comparison import SizeCheck
from export.verification.drawings import (
    DEVICE_PSNR,
    MAX_OFF,
    MAX_OFF_SHARE,
    MIN_PSNR,
    DrawnCheck,
    Redrawing,
)
from export.verification.segmentor import Verification
from roadshift import hxw

Row = tuple[str, ...]


COLUMNS: Row = (
    "precision",
    "size",
    "frames",
    "logit error max",
    "mean",
    "p99.9",
    "logit range",
    "labels equal",
    "clear pixels",
    "of these equal",
    "confidence off by",
    "mIoU torch",
    "mIoU graph",
    "worst class",
)


DRAWN_COLUMNS: Row = ("size", "pictures", "off by > 1", "off at most", "PSNR")


def margin_blocks(verifications: Sequence[Verification]) -> Iterator[Block]:
    """How many labels are equal, by how sure torch was, at the frames' own size."""
    parts = verifications[0].sizes[0].margins
    rows: list[Row] = []
    for i, part in enumerate(parts):
        low = parts[i - 1].below if i else 0
        span = f"{low:g} and more" if part.below is None else f"{low:g} to {part.below:g}"
        agreements = [v.sizes[0].margins[i].agreement for v in verifications]
        shown = ["-" if a is None else f"{a:.4%}" for a in agreements]
        rows.append((span, f"{part.share:.3%}", *shown))
    yield Heading("Labels equal, by torch's margin")
    yield Text("The margin is the best logit less the second, at full size.")
    precisions = [v.candidate.precision for v in verifications]
    yield Table(("margin", "of the pixels", *precisions), rows)


def evidence_blocks(bundle: Bundle, verifications: Sequence[Verification]) -> Iterator[Block]:
    """Class by class what golden frames came out, and what of it a device must reach."""
    names = [v.candidate.precision for v in verifications]
    rows: list[Row] = []
    for name, one in verifications[0].golden.classes.items():
        shares = [v.limits["classes"][name] for v in verifications]
        cells = (f"{s['agreement']:.2%} ({s['min_agreement']:.2%})" for s in shares)
        rows.append((name, str(one.pixels), *cells))
    yield Text(
        "By class, of torch's pixels in the golden frames: the share that comes out so, and in "
        "brackets what a device must reach. Confidence and logits are held to limits as well."
    )
    yield Table(("class", "pixels", *names), rows)
    if missing := bundle.checks["no_evidence"]:
        yield Text(f"**No evidence for: {', '.join(missing)}** (fewer than {EVIDENCE} pixels).")


def drawn_blocks(redrawing: Redrawing) -> Iterator[Block]:
    name = redrawing.drawing.spec.kind
    on = (
        "the network's own label maps of the frames above, and at each size on one map striped "
        "with all classes"
        if redrawing.drawing.more
        else "the frames above"
    )
    yield Heading(f"The {name}")
    yield Text(
        f"It answers uint8 RGB images. Graph ({redrawing.runner.name}) against torch on {on}:"
    )
    yield Table(DRAWN_COLUMNS, [drawn_cells(check) for check in redrawing.checks])
    yield Text(
        f"At most {MAX_OFF_SHARE:.1%} of the values may be off by more than one level, none by "
        f"more than {MAX_OFF}, and PSNR must reach {MIN_PSNR:g} dB; on a device the golden images "
        f"must come out to {DEVICE_PSNR:g} dB."
    )


def lowered_blocks(lowered: Lowered) -> Iterator[Block]:
    yield Heading(f"How {lowered.precision} was made")
    yield Text(lowered.story)
    if lowered.trail:
        kept = f"In fp32 stayed: {', '.join(lowered.kept)}." if lowered.kept else ""
        yield Figure(curve(lowered.trail, lowered.budget), f"report.html shows the curve. {kept}")
        yield Points(lowered.log)


def cells(precision: str, check: SizeCheck) -> Row:
    """One size's numbers, in the order of COLUMNS."""
    drop = None if check.class_drop is None else -check.class_drop
    worst = "" if drop is None or check.worst_class is None else f" {check.worst_class}"
    return (
        precision,
        hxw(check.size),
        str(check.frames),
        f"{check.logit_error_max:.2e}",
        f"{check.logit_error_mean:.2e}",
        f"{check.logit_error_p999:.2e}",
        f"{check.logit_range:.3g}",
        f"{check.agreement:.4%}",
        f"{check.clear_share:.3%}",
        f"{check.clear_agreement:.4%}",
        f"{check.confidence_error} of 255",
        points(check.miou_torch),
        points(check.miou_between if check.miou_graph is None else check.miou_graph),
        "-" if drop is None else f"{drop:+.2f}{worst}",
    )


def drawn_cells(check: DrawnCheck) -> Row:
    """One size's numbers of a graph that draws, in the order of DRAWN_COLUMNS."""
    return (
        hxw(check.size),
        str(check.pictures),
        f"{check.off_share:.4%}",
        f"{check.off_most} of 255",
        "equal" if check.psnr is None else f"{check.psnr:.1f} dB",
    )


def points(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
