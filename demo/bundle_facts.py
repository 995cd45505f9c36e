"""A bundle's card: method, data, scores by class, verification and latency, as HTML for people."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from demo.html_parts import facts_table, hexadecimal, numbers_table, size_text, swatch, text
from export.bundle import Bundle
from export.bundle.data_name import data_name
from export.bundle.graphs import drawing_graphs
from serve.device_check.latency import STAGES
from serve.media.paint import Colour

Values = Mapping[str, Any]
ROUTES = {
    "exact": "from the low-resolution logits, interpolated on class borders only",
    "dense": "from the graph's own argmax",
}


def bundle_facts(bundle: Bundle) -> str:
    """The card: what the bundle's manifest says, without a path of the machine that made it."""
    parts = [
        _section("What it is", facts_table(_origin(bundle))),
        *(_section(*part) for part in _scores(bundle)),
        _section("Verification", facts_table(_checks(bundle))),
        _section("How it runs", facts_table(_graphs(bundle))),
        *(_section(*part, wide=True) for part in _latency(bundle)),
    ]
    hashes = facts_table((name, f"{sha[:16]}…") for name, sha in bundle.files.items())
    files = f"<details><summary>Files (SHA-256)</summary>{hashes}</details>"
    return f'<div class="rs-facts">{"".join(parts)}</div>{files}'


def _section(title: str, body: str, wide: bool = False) -> str:
    return f"<section{' class=rs-wide' if wide else ''}><h2>{text(title)}</h2>{body}</section>"


def _origin(bundle: Bundle) -> Iterable[tuple[str, object]]:
    made = bundle.provenance
    yield "method", made.get("method")
    yield "network", made.get("network")
    if made.get("teacher"):
        yield "teacher", made["teacher"]
    for key, what in (("source", "labelled pictures"), ("target", "unlabelled pictures")):
        unread = {"source": "distillation", "target": "source_only"}[key] == made.get("method")
        if made.get(key) and not unread:
            yield what, data_name(str(made[key]))
    if made.get("work_size"):
        yield "picture size in training", size_text(tuple(made["work_size"]))
    yield "steps", made.get("steps")
    yield "seed", made.get("seed")
    yield "commit", _short(made.get("commit"))
    yield "classes", ", ".join(bundle.classes)


def _scores(bundle: Bundle) -> Iterable[tuple[str, str]]:
    """The IoU of every class as bars, for each data set that was scored."""
    colours = dict(zip(bundle.classes, bundle.palette, strict=True))
    for data, score in bundle.scores.items():
        rows = [
            (swatch(colours.get(name, (128, 128, 128))) + text(name), _bar(iou, colours.get(name)))
            for name, iou in sorted(score.get("iou", {}).items(), key=lambda row: -(row[1] or -1))
        ]
        split = data.partition("#")[2]
        name = f"{data_name(data)} {split}".strip()
        count = f" on {score['images']} pictures" if "images" in score else ""
        mean = f"<p><b>mIoU {text(score.get('miou'))} %</b>{text(count) if count else ''}</p>"
        yield f"Scores on {name}", mean + _bars(rows)


def _bar(percent: float | None, colour: Colour | None) -> str:
    if percent is None:
        return "<td>not there</td><td></td>"
    back = hexadecimal(colour) if colour else "#888"
    style = f"width:{min(100.0, percent):.1f}%;background:{back}"
    return (
        f'<td><div class="rs-track"><div class="rs-bar" style="{style}"></div></div></td>'
        f'<td class="rs-number">{percent:.1f} %</td>'
    )


def _bars(rows: Iterable[tuple[str, str]]) -> str:
    lines = "".join(f'<tr><th scope="row">{name}</th>{cells}</tr>' for name, cells in rows)
    return f'<table class="rs-table rs-bars">{lines}</table>' if lines else ""


def _checks(bundle: Bundle) -> Iterable[tuple[str, object]]:
    """What export compared with the torch network, and how it came out."""
    for precision, check in bundle.checks["precisions"].items():
        if "golden_agreement" in check:
            yield f"{precision}: golden labels equal", f"{100 * check['golden_agreement']:.2f} %"
        yield f"{precision}: wanted of a device", f"{100 * check['min_agreement']:.2f} %"
        for size in check.get("sizes", ()):
            what = f"{precision}: at {size_text(tuple(size['size']))}"
            equal = f"{100 * size['agreement']:.4f} % of the labels equal"
            yield what, f"{equal}, {size['frames']} frames"
    missing = bundle.checks.get("no_evidence")
    if missing:
        yield "no evidence for", ", ".join(missing)
    for graph in drawing_graphs():
        if graph.kind in bundle.checks:
            yield f"{graph.kind}: wanted of a device", f"{bundle.checks[graph.kind]['min_psnr']} dB"


def _latency(bundle: Bundle) -> Iterable[tuple[str, str]]:
    """The milliseconds of every stage, on the machine that exported."""
    device: Values = bundle.checks.get("device") or {}
    rows = [
        (one["precision"], *(_milliseconds(one["latency"]["stages"].get(s)) for s in STAGES))
        for one in device.get("precisions", ())
        if one.get("latency")
    ]
    if rows:
        size = size_text(tuple(device["precisions"][0]["latency"]["size"]))
        where = f"{device['runtime']} on {device['provider']}, {device['machine']}"
        note = f"<p>Median milliseconds of a picture of {size}: {text(where)}.</p>"
        table = numbers_table("Latency by stage", ("precision", *STAGES), rows)
        yield "Latency by stage", note + table


def _milliseconds(stage: Mapping[str, float] | None) -> str:
    return "–" if stage is None else f"{stage['p50']:.1f}"


def _graphs(bundle: Bundle) -> Iterable[tuple[str, object]]:
    yield "picture size (height x width)", size_text(bundle.size)
    yield "smallest picture", size_text(bundle.min_size)
    yield "precisions", ", ".join(bundle.precisions)
    yield "labels", ROUTES[bundle.route]
    yield "ONNX opset", bundle.opset
    for graph in drawing_graphs():
        yield graph.kind, graph.file in bundle.files
    yield "digest", _short(bundle.digest)


def _short(value: object) -> object:
    """Long hashes by their beginning."""
    if isinstance(value, str):
        return re.sub(r"\b([0-9a-f]{16})[0-9a-f]{24,}", r"\1…", value)
    return value
