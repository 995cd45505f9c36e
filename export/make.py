"""A trained run becomes a bundle, or the reason is given why it does not."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from adapt.checkpoint import SavedRun
from export.bundle import Bundle, check_destination, read_bundle, write_bundle
from export.bundle.graphs import CARD, PAGE, REPORT, SEGMENTOR, segmentor_file
from export.bundle.manifest import MOST_CLASSES
from export.export_graphs import Exported, export_graphs, given
from export.frames import Frames, Pixels, Size
from export.graph.onnx_file import OPSET
from export.precision.accuracy import LabelJudge
from export.precision.budget import budget_reasons
from export.precision.lower import Lowered, Lowering, lower
from export.provenance import plain, public_scores
from export.report.document import markdown, page
from export.report.model_card import model_card
from export.report.report import Evidence, report
from export.verification.inputs import Trial, sizes_to_check
from export.verification.segmentor import Candidate, SegmentorSession, Verification, verify
from export.verification.self_check import usual_scores
from roadshift import Failure, UserError
from serve.device_check.verify import check_device
from serve.runtime.rewrites.int8_on_cpu import for_cpu

RUNS = 20
"""Of every precision, to say how fast it is on the machine that exports."""


def make_bundle(
    saved: SavedRun,
    frames: Frames,
    out: Path,
    *,
    size: Size | None,
    lowering: Lowering | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Bundle:
    """Exports, verifies on `frames` and writes; `size` (height, width) or None for every size.

    `lowering` adds lower precisions; `say` is told what is being done. The bundle is opened and
    tried as a server does before it gets its name. Raises UserError for a size or frames that do
    not fit, Failure when a graph is not its network or the disk is full; what was at `out` before
    is then as it was.
    """
    check_destination(out)
    _check_names(saved)
    exported = export_graphs(saved, frames, size)
    lowered = _lowered(exported, saved, frames, lowering, say)
    say(f"comparing with torch on {frames.count} frames of {frames.spec}")
    verifications = _verified(exported, lowered, frames)
    if refused := _refusal(verifications, exported, frames.spec, out):
        raise Failure(refused)
    bundle = _described(exported, saved, lowered, verifications, out)
    contents = exported.contents | {
        segmentor_file(one.precision): one.model.SerializeToString() for one in lowered
    }
    save = partial(write_bundle, golden=exported.golden, drawn=exported.drawn)
    with tempfile.TemporaryDirectory() as folder:
        tried = save(replace(bundle, folder=Path(folder) / bundle.name), contents)
        say("trying it as a server does")
        opened = read_bundle(tried.folder)
        device = check_device(opened, precisions=bundle.precisions, runs=RUNS)
        usual = usual_scores(opened, frames if size is None else frames.resized(size))
    bundle = replace(bundle, checks=bundle.checks | {"device": plain(device.values()), **usual})
    blocks = report(
        bundle,
        Evidence(
            verifications=verifications,
            redrawings=exported.redrawings,
            lowered=lowered,
            device=device,
        ),
    )
    texts = {
        REPORT: markdown(blocks),
        PAGE: page(bundle.name, blocks),
        CARD: model_card(bundle),
    }
    return save(bundle, contents | {name: text.encode() for name, text in texts.items()})


def _check_names(saved: SavedRun) -> None:
    """UserError for classes and colours that no manifest can hold, before anything is compared."""
    classes, colours = saved.info.classes, saved.info.palette
    if len(classes) > MOST_CLASSES:
        raise UserError(
            f"the network has {len(classes)} classes and a bundle's labels are bytes: at most "
            f"{MOST_CLASSES}; train it with fewer (--map joins classes)"
        )
    if "" in classes or len(set(classes)) < len(classes):
        raise UserError(f"the classes are {', '.join(map(repr, classes))}: wanted a name for each")
    if len(colours) != len(classes):
        raise UserError(
            f"there are {len(colours)} colours for {len(classes)} classes: wanted one for each"
        )


def _refusal(
    verifications: Sequence[Verification], exported: Exported, spec: str, out: Path
) -> str:
    """The one sentence, with the numbers, for a graph that is not its network; "" for one that
    is."""
    reasons, advice = list[str](), "--size HxW, or another version of torch"
    for v in verifications:
        if v.reasons and not (reasons or v.candidate.exact):
            advice = "more --calibration-count, a wider budget, or without that --precision"
        reasons += [f"in {v.candidate.precision} {reason}" for reason in v.reasons]
    reasons += [reason for redrawing in exported.redrawings for reason in redrawing.reasons]
    if not reasons:
        return ""
    first = "; ".join(reasons[:3])
    rest = len(reasons) - 3
    more = f"; and {rest} more" if rest > 0 else ""
    return (
        f"the exported graph does not agree with its network on {spec}: {first}{more}."
        f" No bundle was written, {out} is as it was; try {advice}"
    )


def _lowered(
    exported: Exported,
    saved: SavedRun,
    frames: Frames,
    lowering: Lowering | None,
    say: Callable[[str], None],
) -> list[Lowered]:
    if lowering is None:
        return []
    if exported.size is not None:
        frames = frames.resized(exported.size)
        lowering = replace(lowering, calibration=lowering.calibration.resized(exported.size))
    judge = LabelJudge(
        exported.model,
        frames,
        lowering.calibration.spread(2),
        saved.info.classes,
        saved.segmentor.align_corners is True,
    )
    return lower(exported.model, lowering, judge, say)


def _verified(exported: Exported, lowered: Sequence[Lowered], frames: Frames) -> list[Verification]:
    """Every precision against torch, at every size; what torch says is drawn as well."""
    size = exported.size
    sizes = (size,) if size else sizes_to_check(frames.read(0).size, exported.smallest)
    candidates = [
        Candidate(precision="fp32", runner=SegmentorSession(exported.contents[SEGMENTOR.file])),
        *(
            Candidate(
                precision=one.precision,
                runner=SegmentorSession(one.model.SerializeToString()),
                served=SegmentorSession(for_cpu(one.model).SerializeToString())
                if one.precision == "int8"
                else None,
                reasons=partial(budget_reasons, budget=one.budget, native=sizes[0]),
            )
            for one in lowered
        ),
    ]

    def seen(images: Pixels, labels: Pixels) -> None:
        for redrawing in exported.redrawings:
            redrawing.add(given(redrawing.drawing, images, labels))

    trial = Trial(frames=frames, sizes=sizes, golden=exported.golden)
    return verify(exported.subject, candidates, trial, seen)


def _described(
    exported: Exported,
    saved: SavedRun,
    lowered: Sequence[Lowered],
    verifications: Sequence[Verification],
    out: Path,
) -> Bundle:
    """The bundle's manifest, without its files."""
    made = {one.precision: one.values() for one in lowered}
    precisions = {
        v.candidate.precision: v.values() | made.get(v.candidate.precision, {})
        for v in verifications
    }
    checks = {
        "precisions": precisions,
        "no_evidence": [
            name for name in saved.info.classes if name not in verifications[0].golden.classes
        ],
        **{redrawing.drawing.spec.kind: redrawing.values() for redrawing in exported.redrawings},
    }
    return Bundle(
        folder=out,
        name=_name(out),
        classes=saved.info.classes,
        palette=saved.info.palette,
        size=exported.size,
        min_size=exported.size or exported.smallest,
        precisions=tuple(precisions),
        align_corners=saved.segmentor.align_corners is True,
        route=exported.route,
        opset=OPSET,
        provenance=exported.facts,
        scores=public_scores(saved.info.scores),
        checks=plain(checks),
        files={},
    )


def _name(out: Path) -> str:
    """The folder's name, of letters that an address can hold."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", out.resolve().name).strip(".-_") or "segmentor"
