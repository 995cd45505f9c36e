"""The search for a mixed precision as a picture: what is lost against the network's time."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from export.precision.budget import Budget
from export.precision.search import SearchStep

WIDTH, PLOT, ROW = 760, 320, 20
LEFT, RIGHT, TOP = 64, 40, 56
BOTTOM = TOP + PLOT
COLUMNS = (LEFT + 380, LEFT + 475, LEFT + 590, WIDTH - RIGHT)
"""Where the numbers of the list end."""

# `class` and not `id` everywhere: a page may hold several of them.
STYLE = """
.search-curve { color: #1b1f24; background: #ffffff; font: 13px system-ui, sans-serif }
.search-curve text { fill: currentColor }
.search-curve .axis { stroke: currentColor; stroke-opacity: .35; fill: none }
.search-curve .path { stroke: currentColor; stroke-opacity: .25; fill: none }
.search-curve .budget { stroke: #c2410c; stroke-width: 1.5; stroke-dasharray: 6 4 }
.search-curve .holds { fill: #0f766e; stroke: #0f766e }
.search-curve .over { fill: none; stroke: #c2410c }
.search-curve circle { stroke-width: 2 }
.search-curve .number { font-weight: 600; paint-order: stroke; stroke: #ffffff; stroke-width: 3 }
@media (prefers-color-scheme: dark) {
  .search-curve { color: #e6e8eb; background: #16191d }
  .search-curve .budget, .search-curve .over { stroke: #fb923c }
  .search-curve .holds { fill: #2dd4bf; stroke: #2dd4bf }
  .search-curve .number { stroke: #16191d }
}
"""


def curve(trail: Sequence[SearchStep], budget: Budget) -> str:
    """A standalone SVG of the steps of a search; a filled dot is within the budget.

    Up is what is lost: points of mIoU, or of the worst class where that decided, or per cent of the
    labels where there were none to compare with. Right is the network's time in milliseconds. The
    dots are numbered in the order in which they were tried, and listed below with the group of
    layers that went back to float32 last.
    """
    what, losses, limit = _decisive(trail, budget)
    times = [step.measured.milliseconds for step in trail]
    across = _Scale([0.97 * min(times), 1.03 * max(times)], LEFT, WIDTH - RIGHT)
    up = _Scale([*losses, 0, limit], BOTTOM, TOP)
    parts = [
        *_axes(across, up, what),
        f'<line class="budget" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(limit):.1f}" '
        f'y2="{up(limit):.1f}"/>',
        _text(LEFT + 8, up(limit) - 6, f"budget {limit:g}"),
    ]
    places = [(across(t), up(loss)) for t, loss in zip(times, losses, strict=True)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts.append(f'<polyline class="path" points="{line}"/>')
    parts += _dots(trail, places)
    parts += _legend(trail)
    height = BOTTOM + 86 + ROW * len(trail)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="search-curve" role="img" '
        f'aria-label="What INT8 loses against its time" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" style="max-width: 100%; height: auto">'
        f"<style>{STYLE}</style>{''.join(parts)}</svg>\n"
    )


class _Scale:
    """Values on a line from `start` to `end`, with round numbers as ticks; NaN is at the end."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        finite = [v for v in values if math.isfinite(v)] or [0.0]
        low, high = min(finite), max(finite)
        step = _round_step((high - low) / 5 or max(abs(high), 1) / 5)
        self._low, self._high = math.floor(low / step) * step, math.ceil(high / step) * step
        if self._high <= self._low:
            self._high = self._low + step
        count = round((self._high - self._low) / step)
        self.ticks = [self._low + i * step for i in range(count + 1)]
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        share = (value - self._low) / (self._high - self._low) if math.isfinite(value) else 1.0
        return self._start + share * (self._end - self._start)


def _round_step(about: float) -> float:
    """The 1, 2 or 5 times a power of ten that is next above."""
    power = 10 ** math.floor(math.log10(about))
    return next(n * power for n in (1, 2, 5, 10) if n * power >= about * (1 - 1e-9))


def _decisive(trail: Sequence[SearchStep], budget: Budget) -> tuple[str, list[float], float]:
    """What to draw, its values and its limit: where possible what tells within from over."""
    found = [step.measured for step in trail]
    points = [m.miou_drop for m in found if m.miou_drop is not None]
    worst = [m.class_drop for m in found if m.class_drop is not None]
    of_mean = ("mIoU lost, points", points, budget.max_miou_drop)
    of_worst = ("IoU of the worst class lost, points", worst, budget.max_class_drop)
    if len(points) < len(trail):
        changed = [100 * m.disagreement for m in found]
        of_mean = ("labels that change, %", changed, budget.max_disagreement)
        apart = [m.class_change for m in found]
        of_worst = ("points of IoU with fp32 of the worst class", apart, budget.max_class_change)
    decided = [step.holds for step in trail]
    alone = [[x <= limit for x in values] for _, values, limit in (of_mean, of_worst)]
    return of_worst if alone[1] == decided != alone[0] else of_mean


def _axes(across: _Scale, up: _Scale, what: str) -> list[str]:
    right = WIDTH - RIGHT
    parts = [
        f'<path class="axis" d="M{LEFT} {TOP}V{BOTTOM}H{right}"/>',
        _text(LEFT - 40, TOP - 28, what),
        _text(right, BOTTOM + 38, "milliseconds of the network on this machine", "end"),
    ]
    for tick in across.ticks:
        parts.append(f'<path class="axis" d="M{across(tick):.1f} {BOTTOM}v5"/>')
        parts.append(_text(across(tick), BOTTOM + 20, f"{tick:g}", "middle"))
    for tick in up.ticks:
        parts.append(f'<path class="axis" d="M{LEFT} {up(tick):.1f}h-5"/>')
        parts.append(_text(LEFT - 9, up(tick) + 4, f"{tick:.6g}", "end"))
    return parts


def _dots(trail: Sequence[SearchStep], places: Sequence[tuple[float, float]]) -> list[str]:
    """The dots, and their numbers where no other number stands yet."""
    parts, taken = list[str](), list[tuple[float, float]]()
    for i, (step, (x, y)) in enumerate(zip(trail, places, strict=True), start=1):
        kind = "holds" if step.holds else "over"
        parts.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="5"/>')
        spots = [(x + 9, y - 6 - 15 * k) for k in range(len(trail))]
        spot = next(
            (s for s in spots if all(abs(s[0] - a) > 16 or abs(s[1] - b) > 13 for a, b in taken)),
            spots[-1],
        )
        taken.append(spot)
        parts.append(_text(*spot, str(i), "start", "number"))
    return parts


def _legend(trail: Sequence[SearchStep]) -> list[str]:
    """A line a step: its number, what is in float32, what came out."""
    heads = ("in float32: how many, the last", "mIoU", "worst class", "labels changed", "ms")
    parts = _row(BOTTOM + 72, heads)
    for i, step in enumerate(trail, start=1):
        y, m = BOTTOM + 72 + ROW * i, step.measured
        kept = f"{len(step.kept)}, {_short(step.kept[-1])}" if step.kept else "none"
        points = ["" if drop is None else f"{-drop:+.2f}" for drop in (m.miou_drop, m.class_drop)]
        parts += _row(y, (kept, *points, f"{m.disagreement:.2%}", f"{m.milliseconds:.1f}"))
        kind = "holds" if step.holds else "over"
        parts.append(f'<circle class="{kind}" cx="{LEFT - 36}" cy="{y - 4}" r="5"/>')
        parts.append(_text(LEFT - 24, y, str(i)))
    return parts


def _row(y: float, cells: Sequence[str]) -> list[str]:
    numbers = zip(COLUMNS, cells[1:], strict=True)
    return [_text(LEFT, y, cells[0]), *(_text(x, y, cell, "end") for x, cell in numbers)]


def _short(group: str) -> str:
    """The end of a group's name, as much as has room."""
    return group if len(group) <= 44 else f"…{group[-43:]}"


def _text(x: float, y: float, text: str, anchor: str = "start", kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(text)}</text>'
