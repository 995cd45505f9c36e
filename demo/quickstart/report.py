"""The quickstart's report: one HTML file with everything in it, before and after in a table."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from demo.bundle_facts import bundle_facts
from demo.html_parts import CSS, data_uri, scrolling, swatch, text
from demo.quickstart.before_after import PANELS
from demo.quickstart.steps import Step, shown
from export.bundle import Bundle, read_bundle
from roadshift import Failure
from serve.media.files import write_whole

PAGE_CSS = """
:root { color-scheme: light dark; --rs-line: #d8dee8; --rs-faint: #eef1f6; --ink: #1d2733;
  --paper: #ffffff; --soft: #5b6777; --good: #12803c; --bad: #b42318; }
@media (prefers-color-scheme: dark) { :root { --rs-line: #364152; --rs-faint: #242d3a;
  --ink: #e6ebf2; --paper: #151b24; --soft: #9aa7b8; --good: #4cc38a; --bad: #ff8a7a; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1080px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 28px; margin: 0 0 4px; } h2 { font-size: 20px; margin: 38px 0 10px; }
.soft { color: var(--soft); } .good { color: var(--good); } .bad { color: var(--bad); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(220px, 1fr)); gap: 14px;
  margin: 22px 0; }
.card { border: 1px solid var(--rs-line); border-radius: 10px; padding: 14px 18px; }
.card b { display: block; font-size: 30px; font-variant-numeric: tabular-nums; }
figure { margin: 0 0 12px; } figure img { width: 100%; display: block; image-rendering: auto; }
.heads { display: grid; grid-template-columns: repeat(4, 1fr); font-size: 14px; padding: 4px 0; }
pre { background: var(--rs-faint); border-radius: 8px; padding: 10px 14px; white-space: pre-wrap;
  overflow-wrap: anywhere; font-size: 13px; margin: 6px 0; }
.legend span.item { white-space: nowrap; margin-right: 18px; font-size: 14px; }
tr.mean td { font-weight: 650; border-top: 2px solid var(--rs-line); }
"""
HEADS = dict(zip(PANELS, ("Image", "Before", "After", "Ground truth"), strict=True))


class Scores(NamedTuple):
    """One evaluation: mIoU and the classes' IoU in percent, NaN for a class that is not there."""

    data: str
    miou: float
    iou: dict[str, float]


def write_report(
    out: Path,
    folder: Path,
    steps: Sequence[tuple[Step, float]],
    pictures: Sequence[Path],
    use: Sequence[str],
) -> Path:
    """Writes out/report.html from the scores in `out` and the bundle in `folder`; returns its path.

    `steps` come with their seconds; `use` are the commands to go on with. Raises Failure where
    scores cannot be read, UserError where the bundle cannot.
    """
    home, before, after = (read_scores(out / f"{n}.json") for n in ("home", "before", "after"))
    bundle = read_bundle(folder)
    body = [
        "<h1>roadshift quickstart</h1>",
        f'<p class="soft">A segmentor trained on labelled images of {_city(home)}, scored '
        f"on those of {_city(before)}: before adaptation, and after seeing unlabelled images of "
        "that city.</p>",
        _cards(home, before, after),
        "<h2>The same frames, before and after</h2>",
        _figures(pictures),
        _names(bundle),
        "<h2>IoU per class, in percent</h2>",
        _table(bundle, home, before, after),
        "<h2>How it was made</h2>",
        _commands(steps),
        "<h2>Go on</h2>",
        *(f"<pre>{text(line)}</pre>" for line in use),
        "<h2>The exported segmentor</h2>",
        "<details><summary>Sizes, versions, scores and checks</summary>",
        bundle_facts(bundle),
        "</details>",
    ]
    path = out / "report.html"
    write_whole(path, _page("roadshift quickstart", "\n".join(body)).encode())
    return path


def read_scores(path: Path) -> Scores:
    """The scores that `roadshift evaluate --json` wrote; Failure where they cannot be read."""
    try:
        values = cast("Mapping[str, Any]", json.loads(path.read_bytes()))
        iou = cast("Mapping[str, float | None]", values["iou"])
        return Scores(
            str(values["data"]), _number(values["miou"]), {n: _number(v) for n, v in iou.items()}
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failure(
            f"{path} holds no scores that can be read ({error!r}): delete it and run again"
        ) from error


def _city(scores: Scores) -> str:
    """The data without the split that was scored."""
    return f"<code>{text(scores.data.partition('#')[0])}</code>"


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{CSS}{PAGE_CSS}</style></head>\n"
        f"<body>\n{body}\n</body></html>\n"
    )


def _cards(home: Scores, before: Scores, after: Scores) -> str:
    cards = [
        (_iou(before.miou), f"mIoU on {before.data}, before"),
        (_iou(after.miou), f"mIoU on {after.data}, after"),
        (_change(before.miou, after.miou), "points from adaptation"),
        (_iou(home.miou), f"mIoU on {home.data}, where the labels are from"),
    ]
    inner = "".join(f'<div class="card"><b>{big}</b>{text(small)}</div>' for big, small in cards)
    return f'<div class="cards">{inner}</div>'


def _table(bundle: Bundle, home: Scores, before: Scores, after: Scores) -> str:
    heads = ("Source city, before", "Target city, before", "Target city, after", "Change")
    lines = ["<tr><th>Class</th>", *(f'<th class="rs-number">{h}</th>' for h in heads), "</tr>"]
    colours = dict(zip(bundle.classes, bundle.palette, strict=True))
    for name in after.iou:
        mark = swatch(colours[name]) if name in colours else ""
        numbers = [s.iou.get(name, math.nan) for s in (home, before, after)]
        lines.append(f"<tr><td>{mark}{text(name)}</td>{_cells(numbers)}</tr>")
    means = _cells([home.miou, before.miou, after.miou])
    lines.append(f'<tr class="mean"><td>mean (mIoU)</td>{means}</tr>')
    return scrolling("IoU per class", f'<table class="rs-table">{"".join(lines)}</table>')


def _cells(numbers: Sequence[float]) -> str:
    cells = [*(_iou(number) for number in numbers), _change(numbers[-2], numbers[-1])]
    return "".join(f'<td class="rs-number">{cell}</td>' for cell in cells)


def _iou(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1f}"


def _change(before: float, after: float) -> str:
    change = after - before
    if math.isnan(change):
        return "–"
    kind = "good" if change >= 0.05 else "bad" if change <= -0.05 else "soft"
    return f'<span class="{kind}">{change:+.1f}</span>'


def _figures(pictures: Sequence[Path]) -> str:
    heads = (
        '<div class="heads soft">' + "".join(f"<div>{HEADS[p]}</div>" for p in PANELS) + "</div>"
    )
    images = (
        f'<figure><img alt="a frame: image, before, after, ground truth" '
        f'src="{data_uri(path.read_bytes())}"></figure>'
        for path in pictures
    )
    return heads + "".join(images)


def _names(bundle: Bundle) -> str:
    items = (
        f'<span class="item">{swatch(colour)}{text(name)}</span> '
        for name, colour in zip(bundle.classes, bundle.palette, strict=True)
    )
    return f'<p class="legend">{"".join(items)}</p>'


def _commands(steps: Sequence[tuple[Step, float]]) -> str:
    lines = (
        f"<p>{text(step.name.capitalize())} <span class=soft>({seconds:.0f} s)</span></p>"
        f"<pre>{text(shown(step.command))}</pre>"
        for step, seconds in steps
    )
    return "".join(lines)
