"""What was exported, what was checked and what was not, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from export.bundle import Bundle
from export.precision.lower import Lowered
from export.provenance import steps_of
from export.report.device import device_blocks
from export.report.document import Block, Heading, Points, Table, Text
from export.report.tables import (
    COLUMNS,
    cells,
    drawn_blocks,
    evidence_blocks,
    lowered_blocks,
    margin_blocks,
    points,
)
from export.verification.comparison import MAX_LOGIT_ERROR
from export.verification.drawings import (
    Redrawing,
)
from export.verification.segmentor import Verification
from export.verification.tolerances import MAX_MIOU_CHANGE, MIN_AGREEMENT
from roadshift import hxw
from serve.device_check.verify import DeviceReport


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
        *margin_blocks(evidence.verifications),
    ]
    for redrawing in evidence.redrawings:
        blocks += drawn_blocks(redrawing)
    for lowered in evidence.lowered:
        blocks += lowered_blocks(lowered)
    blocks += device_blocks(evidence.device)
    blocks += [Heading("Not checked"), Points(list(_unchecked(bundle)))]
    if bundle.scores:
        rows = [(data, points(score.get("miou"))) for data, score in bundle.scores.items()]
        blocks += [Heading("The run's evaluations"), Table(("data", "mIoU"), rows)]
    return blocks


def _origin(bundle: Bundle) -> Iterator[Block]:
    facts = bundle.provenance
    takes = (
        f"{hxw(bundle.size)} only" if bundle.size else f"every size from {hxw(bundle.min_size)} on"
    )
    yield Heading(bundle.name, 1)
    if facts["steps"]:
        yield Text(
            f"`{facts['network']}` trained by `{facts['method']}` from `{facts['source']}` to "
            f"`{facts['target']}`: {steps_of(facts)}, seed {facts['seed']}, "
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
    yield from evidence_blocks(bundle, verifications)


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


def _meaning(verification: Verification) -> str:
    scores = (
        "mIoU is of both sides against the labels; worst class is the IoU that falls most."
        if verification.labelled
        else "No labels were given, so mIoU graph is that of the graph's labels against torch's."
    )
    return (
        "A pixel is clear when torch's best class leads by more than twice the error of the "
        "logits (of what is allowed of it, where it is more): rounding cannot change it, so in "
        "fp32 all of them must be equal. Over all pixels "
        f"{MIN_AGREEMENT:.1%} must be; logits may be off by {MAX_LOGIT_ERROR:.1%} of their range, "
        f"mIoU by {MAX_MIOU_CHANGE} points. Lower precisions are held to their budget. p99.9 is "
        "that of the worst batch. " + scores
    )


def _inside(facts: dict[str, Any]) -> str:
    norm = facts["normalisation"]
    steps = [f"resizes them to {hxw(facts['work_size'])}"] if facts["work_size"] else []
    if facts["translator"]:
        steps.append("translates them into the source's colours")
    if norm:
        mean, std = (", ".join(f"{value:.4g}" for value in norm[key]) for key in ("mean", "std"))
        how = " (in the first convolution's weights)" if facts["normalisation_folded"] else ""
        steps.append(f"normalises {norm['order']} by mean ({mean}) and deviation ({std}){how}")
    steps.append("upsamples the logits bilinearly")
    return ", ".join(steps) + f" (align_corners {facts['align_corners']})"
