"""What was exported, what was checked and what was not, for people."""

from __future__ import annotations

from typing import Any

from export.bundle import Bundle
from export.compare import MAX_LOGIT_ERROR, MAX_MIOU_CHANGE, MIN_AGREEMENT, SizeCheck
from export.redraw import (
    DEVICE_PSNR,
    MAX_OFF,
    MAX_OFF_SHARE,
    MIN_PSNR,
    RebuiltCheck,
    Redrawing,
)
from export.verify import Verification

Row = tuple[str, ...]

COLUMNS: Row = (
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


REBUILT_COLUMNS: Row = ("size", "maps", "off by > 1", "off at most", "PSNR")


def report(bundle: Bundle, verification: Verification, redrawing: Redrawing | None = None) -> str:
    """report.md: origin, the tables of checks, the verdict, what was not checked."""
    facts = bundle.provenance
    takes = (
        f"{_times(bundle.size)} only"
        if bundle.size
        else f"every size from {_times(bundle.min_size)} on"
    )
    verdict = "passed" if verification.passed else "refused: " + "; ".join(verification.reasons)
    sections = [
        f"# {bundle.name}",
        f"`{facts['network']}` trained by `{facts['method']}` from `{facts['source']}` to "
        f"`{facts['target']}`: {facts['steps']} steps, seed {facts['seed']}, "
        f"commit `{facts['commit']}`.",
        f"{len(bundle.classes)} classes: {', '.join(bundle.classes)}.",
        f"The graph (ONNX opset {bundle.opset}, {bundle.precision}) takes uint8 RGB frames of "
        f"{takes}, {_inside(facts)}, and answers labels of the frame's size.",
        f"**Verification: {verdict}.** Graph ({verification.runtime}) against torch "
        f"{facts['exported_with']['torch']} on frames of `{verification.spec}`, "
        "in batches of one and two:",
        _table(COLUMNS, [cells(check) for check in verification.sizes]),
        f"{_meaning(verification)} On the golden frames at least "
        f"{verification.golden_agreement:.4%} of the labels are equal.",
        *(_rebuilt(redrawing) if redrawing else ()),
        "## Not checked",
        "- TensorRT, a GPU, and every precision but fp32: none of them was run.\n"
        "- Speed.\n"
        "- Whether the labels are right: that is the evaluation's job"
        + (" (below)." if bundle.scores else ", and the run has none."),
    ]
    if bundle.scores:
        rows = [(data, _points(score.get("miou"))) for data, score in bundle.scores.items()]
        sections += ["## The run's evaluations", _table(("data", "mIoU"), rows)]
    return "\n\n".join(sections) + "\n"


def cells(check: SizeCheck) -> Row:
    """One size's numbers, in the order of COLUMNS."""
    return (
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
        _points(check.worst_class_change),
    )


def rebuilt_cells(check: RebuiltCheck) -> Row:
    """One size's numbers of the reconstructor, in the order of REBUILT_COLUMNS."""
    return (
        _times(check.size),
        str(check.maps),
        f"{check.off_share:.4%}",
        f"{check.off_most} of 255",
        "equal" if check.psnr is None else f"{check.psnr:.1f} dB",
    )


def _rebuilt(redrawing: Redrawing) -> list[str]:
    return [
        "## The reconstructor",
        "It takes uint8 label maps of the same sizes and answers uint8 RGB images. Graph "
        f"({redrawing.runner.name}) against torch on the network's own label maps of the frames "
        "above, and at each size on one map striped with all classes:",
        _table(REBUILT_COLUMNS, [rebuilt_cells(check) for check in redrawing.checks]),
        f"At most {MAX_OFF_SHARE:.1%} of the values may be off by more than one level, none by "
        f"more than {MAX_OFF}, and PSNR must reach {MIN_PSNR:g} dB; on a device the golden images "
        f"must come out to {DEVICE_PSNR:g} dB.",
    ]


def _meaning(verification: Verification) -> str:
    scores = (
        "mIoU is of both sides against the labels; worst class is the largest change of an IoU."
        if verification.labelled
        else "No labels were given, so mIoU graph is that of the graph's labels against torch's."
    )
    return (
        "A pixel is clear when torch's best class leads by more than twice the error of the "
        "logits: rounding cannot change it, so all of them must be equal. Over all pixels "
        f"{MIN_AGREEMENT:.1%} must be; logits may be off by {MAX_LOGIT_ERROR:.1%} of their range, "
        f"mIoU by {MAX_MIOU_CHANGE} points. p99.9 is that of the worst batch. " + scores
    )


def _inside(facts: dict[str, Any]) -> str:
    norm = facts["normalisation"]
    steps = [f"resizes them to {_times(facts['work_size'])}"] if facts["work_size"] else []
    if facts["translator"]:
        steps.append("translates them into the source's colours")
    if norm:
        mean, std = (", ".join(f"{value:.4g}" for value in norm[key]) for key in ("mean", "std"))
        steps.append(f"normalises {norm['order']} by mean ({mean}) and deviation ({std})")
    steps.append("upsamples the logits bilinearly")
    return ", ".join(steps) + f" (align_corners {facts['align_corners']})"


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _points(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _table(head: Row, rows: list[Row]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
