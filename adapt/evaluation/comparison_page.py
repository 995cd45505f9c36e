"""What a comparison leaves: a page with everything in it, the picture, the numbers, a table."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from rich.table import Table
from rich.text import Text

from adapt.evaluation.compare import Comparison
from adapt.evaluation.cost import FORWARDS
from adapt.evaluation.label_free import BEST, BETTER, MEANING
from adapt.pictures.overlay import png
from roadshift import hxw, replacing

CSS = """
:root { color-scheme: light dark; --line: #d8dee8; --ink: #1d2733; --paper: #fff; --soft: #5b6777; }
@media (prefers-color-scheme: dark) {
  :root { --line: #364152; --ink: #e6ebf2; --paper: #151b24; --soft: #9aa7b8; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1180px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 28px; margin: 0 0 4px; } h2 { font-size: 20px; margin: 34px 0 8px; }
p { color: var(--soft); max-width: 78ch; }
div { overflow-x: auto; } table { border-collapse: collapse; font-size: 14px; min-width: 50%; }
th, td { padding: 5px 10px; border-bottom: 1px solid var(--line); text-align: left; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.mean td { border-top: 2px solid var(--line); }
b { font-weight: 750; } img { width: 100%; display: block; }
i { display: inline-block; width: 13px; height: 13px; border-radius: 3px; margin-right: 8px;
  vertical-align: -1px; box-shadow: inset 0 0 0 1px rgba(128, 128, 128, 0.55); }
"""


class Measure(NamedTuple):
    """One measure of every run, for people, and whether no run has a better one."""

    name: str
    values: list[str]
    best: list[bool]


def write(comparison: Comparison, picture: UInt8[np.ndarray, "h w 3"], out: Path) -> None:
    """Write compare.json, compare.png and compare.html into a folder, each atomically."""
    image = png(picture)
    with replacing(out / "compare.png") as temporary:
        temporary.write_bytes(image)
    runs = [{**asdict(run), "cost": run.cost._asdict()} for run in comparison.runs]
    with replacing(out / "compare.json") as temporary:
        temporary.write_text(
            json.dumps({"format": 1, **asdict(comparison), "runs": runs}, indent=1)
        )
    with replacing(out / "compare.html") as temporary:
        temporary.write_text(page(comparison, image), encoding="utf-8")


def table(comparison: Comparison) -> Table:
    """For a terminal: a measure a row, a run a column, the best of each row bold."""
    names = [Text(run.name, overflow="fold") for run in comparison.runs]
    result = Table("", title=f"{comparison.data}: {_images(comparison)}")
    for name in names:
        result.add_column(name, justify="right")
    for measures in (
        _ious(comparison),
        [_miou(comparison), *_signal(comparison)],
        _costs(comparison),
    ):
        for measure in measures:
            cells = zip(measure.values, measure.best, strict=True)
            marked = [Text(value, "bold" if best else "") for value, best in cells]
            result.add_row(Text(measure.name), *marked)
        result.add_section()
    return result


def notes(comparison: Comparison) -> list[str]:
    """How it was measured, in sentences."""
    c = comparison
    left_out = (
        [f"Not all runs have {', '.join(c.left_out)}: left out, and the pixels of these as well."]
        if c.left_out
        else []
    )
    return [
        f"Each run's last checkpoint on the {_images(c)} of {c.data}: IoU in percent at the "
        f"labels' own size, over the pixels of the {len(c.classes)} classes compared.",
        *left_out,
        *([f"Without labels: {BEST} on {c.target}, {MEANING}."] if c.target else []),
        f"Cost: one frame of {hxw(c.frame)} through the whole deployed function (resizing, a "
        "translator where the method has one, the network without its auxiliary head), in torch "
        "and float32. GFLOPs are those of convolutions and matrix products, a multiply-add "
        f"counted as two; milliseconds are the median of {FORWARDS} forwards on {c.device} "
        f"({c.threads} CPU {'thread' if c.threads == 1 else 'threads'}), bytes in, labels out, the "
        "runs taking turns.",
    ]


def page(comparison: Comparison, picture: bytes) -> str:
    """One HTML file with the picture (a PNG) in it; the best of each measure is bold."""
    image = "data:image/png;base64," + base64.b64encode(picture).decode()
    title = f"{len(comparison.runs)} runs on {html.escape(comparison.data)}"
    body = [
        f"<h1>{title}</h1>",
        f"<div>{_summary(comparison)}</div>",
        "<h2>IoU per class, in percent</h2>",
        f"<div>{_classes(comparison)}</div>",
        "<h2>The same frames</h2>",
        f'<div><img alt="frames: input, each run, truth" src="{image}"></div>',
        "<h2>How it was measured</h2>",
        *(f"<p>{html.escape(note)}</p>" for note in notes(comparison)),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{CSS}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _images(comparison: Comparison) -> str:
    return "1 image" if comparison.images == 1 else f"{comparison.images} images"


def _summary(comparison: Comparison) -> str:
    measures = [_miou(comparison), *_signal(comparison), *_costs(comparison)]
    heads = "".join(
        f"<th>{head}</th>" for head in ("run", "method", "network", "steps", "works at")
    )
    heads += "".join(f'<th class="number">{html.escape(m.name)}</th>' for m in measures)
    rows = [f"<tr>{heads}</tr>"]
    for k, run in enumerate(comparison.runs):
        size = hxw(run.size) if run.size else "the frame's"
        facts = (run.name, run.method, run.network, run.steps, size)
        cells = "".join(f"<td>{html.escape(str(fact))}</td>" for fact in facts)
        cells += "".join(_number(m.values[k], m.best[k]) for m in measures)
        rows.append(f"<tr>{cells}</tr>")
    return f"<table>{''.join(rows)}</table>"


def _classes(comparison: Comparison) -> str:
    heads = "".join(f'<th class="number">{html.escape(r.name)}</th>' for r in comparison.runs)
    rows = [f"<tr><th>class</th>{heads}</tr>"]
    coloured = zip(_ious(comparison), comparison.palette, strict=True)
    for measure, colour in coloured:
        swatch = f'<i style="background:#{bytes(colour).hex()}"></i>'
        rows.append(f"<tr><td>{swatch}{html.escape(measure.name)}</td>{_numbers(measure)}</tr>")
    mean = _miou(comparison)
    rows.append(f'<tr class="mean"><td>{mean.name}</td>{_numbers(mean)}</tr>')
    return f"<table>{''.join(rows)}</table>"


def _numbers(measure: Measure) -> str:
    return "".join(map(_number, measure.values, measure.best))


def _number(value: str, best: bool) -> str:
    return f'<td class="number">{f"<b>{value}</b>" if best else value}</td>'


def _ious(comparison: Comparison) -> list[Measure]:
    runs = comparison.runs
    return [_measured(name, [r.iou[name] for r in runs], max) for name in comparison.classes]


def _miou(comparison: Comparison) -> Measure:
    return _measured("mIoU %", [run.miou for run in comparison.runs], max)


def _signal(comparison: Comparison) -> list[Measure]:
    """The label-free signal, where a target without labels was given."""
    if not comparison.target:
        return []
    best = max if BETTER[BEST] > 0 else min
    values = [run.signal for run in comparison.runs]
    return [_measured(f"{BEST}, no labels", values, best, 3)]


def _costs(comparison: Comparison) -> list[Measure]:
    costs = [run.cost for run in comparison.runs]
    return [
        _measured("GFLOPs", [cost.gflops for cost in costs], min, 2),
        _measured("parameters, millions", [cost.parameters for cost in costs], min, 2),
        _measured("ms a frame", [cost.milliseconds for cost in costs], min, 1),
    ]


def _measured(
    name: str,
    values: Sequence[float | None],
    best: Callable[[list[float]], float],
    places: int = 1,
) -> Measure:
    """Values that read the same are equally good; among one run there is no best."""
    texts = ["–" if v is None else f"{v:.{places}f}" for v in values]
    known = [v for v in values if v is not None]
    winner = f"{best(known):.{places}f}" if len(values) > 1 and known else ""
    return Measure(name, texts, [text == winner for text in texts])
