"""What was exported, what was checked and what was not, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from export.bundle import Bundle
from export.compare import SizeCheck
from export.document import Block, Figure, Heading, Points, Table, Text
from export.limits import MAX_LOGIT_ERROR, MAX_MIOU_CHANGE, MIN_AGREEMENT
from export.lower import Lowered
from export.precision.curve import curve
from export.redraw import DEVICE_PSNR, MAX_OFF, MAX_OFF_SHARE, MIN_PSNR, DrawnCheck, Redrawing
from export.report_device import device_blocks
from export.verify import Verification
from serve.verify import DeviceReport

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


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that was found out about a bundle before it got its name."""

    verifications: Sequence[Verification]
    redrawings: Sequence[Redrawing] = ()
    lowered: Sequence[Lowered] = ()
    device: DeviceReport


def report(bundle: Bundle, evidence: Evidence) -> list[Block]:
    """Origin, the tables of checks, how lower precisions came about, speed, what is not known."""
    blocks: list[Block] = [
        *_origin(bundle),
        *_verified(bundle, evidence.verifications),
        *_margins(evidence.verifications),
    ]
    for redrawing in evidence.redrawings:
        blocks += _drawn(redrawing)
    for lowered in evidence.lowered:
        blocks += _lowered(lowered)
    blocks += device_blocks(evidence.device)
    blocks += [Heading("Not checked"), Points(list(_unchecked(bundle)))]
    if bundle.scores:
        rows = [(data, _points(score.get("miou"))) for data, score in bundle.scores.items()]
        blocks += [Heading("The run's evaluations"), Table(("data", "mIoU"), rows)]
    return blocks


def _origin(bundle: Bundle) -> Iterator[Block]:
    facts = bundle.provenance
    takes = (
        f"{_times(bundle.size)} only"
        if bundle.size
        else f"every size from {_times(bundle.min_size)} on"
    )
    yield Heading(bundle.name, 1)
    if facts["steps"]:
        yield Text(
            f"`{facts['network']}` trained by `{facts['method']}` from `{facts['source']}` to "
            f"`{facts['target']}`: {facts['steps']} steps, seed {facts['seed']}, "
            f"commit `{facts['commit']}`."
        )
    else:
        yield Text(f"A module of its own training, `{facts['network']}`.")
    yield Text(f"{len(bundle.classes)} classes: {', '.join(bundle.classes)}.")
    yield Text(
        f"The graph (ONNX opset {bundle.opset}; {', '.join(bundle.precisions)}) takes uint8 RGB "
        f"frames of {takes}, {_inside(facts)}, and answers labels of the frame's size."
    )


def _verified(bundle: Bundle, verifications: Sequence[Verification]) -> Iterator[Block]:
    first = verifications[0]
    yield Text(
        f"**Verification: passed.** Graph ({first.candidate.runner.name}) against torch "
        f"{bundle.provenance['exported_with']['torch']} on frames of `{first.spec}`, "
        "in batches of one and two:"
    )
    yield Table(COLUMNS, [cells(v.candidate.precision, c) for v in verifications for c in v.sizes])
    golden = ", ".join(
        f"{v.golden_agreement:.4%} in {v.candidate.precision}" for v in verifications
    )
    yield Text(f"{_meaning(first)} On the golden frames at least {golden} of the labels are equal.")


def _margins(verifications: Sequence[Verification]) -> Iterator[Block]:
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


def _drawn(redrawing: Redrawing) -> Iterator[Block]:
    name = redrawing.drawing.name
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


def _lowered(lowered: Lowered) -> Iterator[Block]:
    yield Heading(f"How {lowered.precision} was made")
    yield Text(lowered.story)
    if lowered.trail:
        kept = f"In fp32 stayed: {', '.join(lowered.kept)}." if lowered.kept else ""
        yield Figure(curve(lowered.trail, lowered.budget), f"report.html shows the curve. {kept}")
        yield Points(lowered.log)


def _unchecked(bundle: Bundle) -> Iterator[str]:
    yield (
        "TensorRT and a GPU: neither was run. `roadshift engine` and `roadshift verify` do that "
        "on the device."
    )
    if "fp16" in bundle.precisions:
        yield (
            "The arithmetic of fp16: ONNX Runtime's CPU provider computes such a graph with "
            "float32 kernels between casts. Its accuracy is known once a GPU has run it."
        )
    if "int8" in bundle.precisions:
        yield (
            "The arithmetic of an INT8 engine: the table above is ONNX Runtime's of the same "
            "graph, which quantises the same tensors by the same scales."
        )
    yield "Whether the labels are right: that is the evaluation's job" + (
        " (below)." if bundle.scores else ", and the run has none."
    )


def cells(precision: str, check: SizeCheck) -> Row:
    """One size's numbers, in the order of COLUMNS."""
    drop = None if check.class_drop is None else -check.class_drop
    worst = "" if drop is None or check.worst_class is None else f" {check.worst_class}"
    return (
        precision,
        _times(check.size),
        str(check.frames),
        f"{check.logit_error_max:.2e}",
        f"{check.logit_error_mean:.2e}",
        f"{check.logit_error_p999:.2e}",
        f"{check.logit_range:.3g}",
        f"{check.agreement:.4%}",
        f"{check.clear_share:.3%}",
        f"{check.clear_agreement:.4%}",
        f"{check.confidence_error} of 255",
        _points(check.miou_torch),
        _points(check.miou_between if check.miou_graph is None else check.miou_graph),
        "-" if drop is None else f"{drop:+.2f}{worst}",
    )


def drawn_cells(check: DrawnCheck) -> Row:
    """One size's numbers of a graph that draws, in the order of DRAWN_COLUMNS."""
    return (
        _times(check.size),
        str(check.pictures),
        f"{check.off_share:.4%}",
        f"{check.off_most} of 255",
        "equal" if check.psnr is None else f"{check.psnr:.1f} dB",
    )


def _meaning(verification: Verification) -> str:
    scores = (
        "mIoU is of both sides against the labels; worst class is the IoU that falls most."
        if verification.labelled
        else "No labels were given, so mIoU graph is that of the graph's labels against torch's."
    )
    return (
        "A pixel is clear when torch's best class leads by more than twice the error of the "
        "logits: rounding cannot change it, so in fp32 all of them must be equal. Over all pixels "
        f"{MIN_AGREEMENT:.1%} must be; logits may be off by {MAX_LOGIT_ERROR:.1%} of their range, "
        f"mIoU by {MAX_MIOU_CHANGE} points. Lower precisions are held to their budget. p99.9 is "
        "that of the worst batch. " + scores
    )


def _inside(facts: dict[str, Any]) -> str:
    norm = facts["normalisation"]
    steps = [f"resizes them to {_times(facts['work_size'])}"] if facts["work_size"] else []
    if facts["translator"]:
        steps.append("translates them into the source's colours")
    if norm:
        mean, std = (", ".join(f"{value:.4g}" for value in norm[key]) for key in ("mean", "std"))
        how = " (in the first convolution's weights)" if facts["normalisation_folded"] else ""
        steps.append(f"normalises {norm['order']} by mean ({mean}) and deviation ({std}){how}")
    steps.append("upsamples the logits bilinearly")
    return ", ".join(steps) + f" (align_corners {facts['align_corners']})"


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _points(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
