"""The measured routes of some networks as Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from deploy_routes import Seconds, Size

FP32, INT8 = "ours, fp32", "ours, int8"
FLOOR_FP32, FLOOR_INT8 = "floor, fp32", "floor, int8"
RIVALS = ("torch eager", "torch.compile", "ONNX Runtime + numpy")
MIN_AROUND, MAX_FLOOR, MIN_INT8, MAX_DROP = 4.0, 1.15, 2.0, 0.5
HOW = """\
A JPEG in, a PNG of labels at the JPEG's size out, from bilinear logits, one frame at a time, in one
process; all routes in turns, round after round, in another order in each, with {pause:.0f} ms of
rest before each so that no one's threads still spin in another's time. {warm_up} rounds to warm up
are not counted. Milliseconds are medians over the rounds (a sum of medians is not the median of the
sum); total, p95 and the least are of the whole frame.

- **ours**: `decode` of `serve.media.codec`, the bundle's engine on ONNX Runtime, `encode_png`. The
  picture is prepared in the same call as the network; `pre` is that part of the graph run once more
  alone after the frame, and `network` the rest of the call.
- **floor**: the same decoder and encoder, and between them the bare network on floats that lie
  ready. In fp32 it is the graph of *ONNX Runtime + numpy*, in int8 the bundle's graph as we run it,
  from its first layer on.
- **torch**: OpenCV decodes and encodes, torch scales, resizes, normalises, upsamples and takes the
  argmax; compiled, each of these three parts is compiled as one. Without the auxiliary head.
- **+ numpy**: the network alone (float32 [1,3,h,w], exported by torch.onnx for that size, without
  our rewriting) between OpenCV's resize and numpy's normalisation, and OpenCV's resize of the
  logits and numpy's argmax. OpenCV has no `align_corners`, and resizes bytes to bytes: hence their
  other labels. The labels are compared with torch eager's on this frame.
"""


class Measured(NamedTuple):
    """One network: what its routes took, and `checks` of the bundle, by precision.

    `agreement` is the share (0..1) of labels equal to torch eager's, `missing` why a route could
    not be measured.
    """

    name: str
    size: Size
    rows: dict[str, list[Seconds]]
    agreement: dict[str, float]
    missing: dict[str, str]
    checks: dict[str, Any]


def section(measured: Measured) -> list[str]:
    """A network's part of the page."""
    rows = measured.rows
    rounds = len(next(iter(rows.values())))
    height, width = measured.size
    return [
        f"## {measured.name}, worked at {height}x{width}",
        "",
        f"{rounds} rounds.",
        "",
        *_times(rows, measured),
        "",
        *_ratios(rows),
        "",
        *_accuracy(measured.checks),
        "",
        "Goals:",
        "",
        *_goals(rows, measured.checks),
        "",
    ]


def around(row: Seconds) -> float:
    """Seconds before and after the network, without decoding and encoding."""
    return row.pre + row.post


def _times(rows: dict[str, list[Seconds]], measured: Measured) -> Iterator[str]:
    stages = " | ".join(Seconds._fields)
    yield f"| ms | {stages} | total p50 | p95 | least | labels equal |"
    yield "|---" * (len(Seconds._fields) + 5) + "|"
    for name, row in rows.items():
        cells = [_ms(p50(row, lambda r, i=i: r[i])) for i in range(len(Seconds._fields))]
        totals = [1e3 * r.total for r in row]
        cells += [_number(float(v)) for v in np.percentile(totals, (50, 95, 0))]
        same = measured.agreement.get(name)
        cells.append("" if same is None else f"{100 * same:.3f} %")
        yield f"| {name} | " + " | ".join(cells) + " |"
    for name, why in measured.missing.items():
        yield f"| {name} | not measured: {why} |" + " |" * (len(Seconds._fields) + 3)


def _ratios(rows: dict[str, list[Seconds]]) -> Iterator[str]:
    yield "| times ours | frame, ours in fp32 | frame, ours in int8 | pre + post, ours in fp32 |"
    yield "|---|---|---|---|"
    for name, row in rows.items():
        if not name.startswith(("ours", "floor")):
            cells = [_ratio(row, rows.get(own), _total) for own in (FP32, INT8)]
            cells.append(_ratio(row, rows.get(FP32), around))
            yield f"| {name} | " + " | ".join(map(_times_text, cells)) + " |"


def _accuracy(checks: dict[str, Any]) -> Iterator[str]:
    yield "| precision | frames | mIoU torch | graph | class that loses most | labels equal |"
    yield "|---" * 6 + "|"
    for precision, made in checks.items():
        check = made["sizes"][0]  # of the frames' own size, or of the bundle's
        size = "x".join(map(str, check["size"]))
        spec = made["frames"].rpartition("/")[2]
        worst = check["class_drop"]
        cells = [
            precision,
            f"{check['frames']} of {size} (`{spec}`)",
            *(_known(check[key], ".2f") for key in ("miou_torch", "miou_graph")),
            "" if worst is None else f"{check['worst_class']} {-worst:+.2f}",
            f"{100 * check['agreement']:.3f} %",
        ]
        yield "| " + " | ".join(cells) + " |"


def _goals(rows: dict[str, list[Seconds]], checks: dict[str, Any]) -> Iterator[str]:
    for name in RIVALS:
        ratio = _ratio(rows.get(name), rows.get(FP32), around)
        yield _goal(f"pre + post of {name} against ours", ratio, MIN_AROUND, least=True)
    for own, floor in ((FP32, FLOOR_FP32), (INT8, FLOOR_INT8)):
        ratio = _ratio(rows.get(own), rows.get(floor), _total)
        yield _goal(f"{own} against the {floor}", ratio, MAX_FLOOR, least=False)
    ratio = _ratio(rows.get(FLOOR_FP32), rows.get(FLOOR_INT8), lambda r: r.network)
    yield _goal("the network in fp32 against int8", ratio, MIN_INT8, least=True)
    for check in checks.get("int8", {}).get("sizes", [])[:1]:
        if check["miou_torch"] is not None:
            drop = check["miou_torch"] - check["miou_graph"]
            text = "points of mIoU that int8 loses"
            yield _goal(text, drop, MAX_DROP, least=False, unit="")


def _goal(text: str, found: float | None, wanted: float, *, least: bool, unit: str = "x") -> str:
    bound = f"goal at {'least' if least else 'most'} {wanted:g}{unit}"
    if found is None:
        return f"- {text}: not measured ({bound})"
    met = found >= wanted if least else found <= wanted
    return f"- {text}: {found:.2f}{unit} ({bound}): {'met' if met else '**missed**'}"


def p50(row: Sequence[Seconds], value: Callable[[Seconds], float]) -> float:
    """The median over the rounds, in seconds."""
    return float(np.median([value(r) for r in row]))


def _ratio(
    row: list[Seconds] | None, other: list[Seconds] | None, value: Callable[[Seconds], float]
) -> float | None:
    """How many times the other's median a route's median is; None where one is not known."""
    if row is None or other is None:
        return None
    ratio = p50(row, value) / p50(other, value)
    return ratio if math.isfinite(ratio) and ratio > 0 else None


def _total(row: Seconds) -> float:
    return row.total


def _ms(seconds: float) -> str:
    return "" if math.isnan(seconds) else _number(1e3 * seconds)


def _number(milliseconds: float) -> str:
    return f"{milliseconds:.0f}" if milliseconds >= 100 else f"{milliseconds:.1f}"


def _times_text(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def _known(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
