"""What a check of a bundle on a device found, for programs (JSON) and for people (a table)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from roadshift import hxw
from serve.device_check.latency import STAGES, Latency
from serve.device_check.placement import Placement

HEADS = ("", "route", "golden", "routes agree", "nodes", *STAGES)


@dataclass(frozen=True, kw_only=True)
class PrecisionReport:
    """One precision of the segmentor.

    `lowered` is the share (0..1) of the multiply-adds that the graph does in it (None: fp32).
    `golden` is the share (0..1) of the worst golden frame's labels that came out as exported, by
    route; `classes` the share by class over all of them, of classes with evidence; `confidence` is
    the mean difference in levels of 255 and `logits` the root mean square one over their deviation
    (None: the bundle does not know torch's). `routes_agree` is the share in which the routes agree
    (None where there is but one). `route` is the one that labels take by themselves, which
    `latency` timed, and `why` says why.
    """

    precision: str
    lowered: float | None
    route: str
    why: str
    golden: dict[str, float]
    classes: dict[str, float]
    confidence: float | None
    logits: float | None
    routes_agree: float | None
    placement: Placement
    latency: Latency

    def row(self) -> list[str]:
        """Its line of the table, under HEADS; times are the medians."""
        agree = "-" if self.routes_agree is None else f"{self.routes_agree:.4%}"
        nodes = ", ".join(f"{count} {name}" for name, count in self.placement.nodes.items())
        times = (self.latency.stages[stage] for stage in STAGES)
        return [
            self.precision,
            self.route,
            f"{min(self.golden.values()):.3%}",
            agree,
            nodes,
            *("-" if t is None else f"{t.p50:.1f}" for t in times),
        ]


@dataclass(frozen=True, kw_only=True)
class DrawingReport:
    """The reconstructor or the translator: its worst golden image, in decibels (None: equal)."""

    kind: str
    psnr: float | None
    placement: Placement


@dataclass(frozen=True, kw_only=True)
class DeviceReport:
    """Everything about one bundle on one device, all of it as wanted."""

    bundle: str
    provider: str
    threads: int
    runtime: str
    machine: str
    precisions: tuple[PrecisionReport, ...]
    drawings: tuple[DrawingReport, ...]

    def values(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    def text(self) -> str:
        """For people: a table with a line a precision, then the graphs that draw."""
        timed = self.precisions[0].latency
        cores = f"{self.threads} threads" if self.threads else "all cores"
        lines = [
            f"{self.bundle} on {self.provider} ({self.machine}, {cores}, {self.runtime})",
            "",
            *_table([HEADS, *(precision.row() for precision in self.precisions)]),
            "",
            f"milliseconds, the median of {timed.runs} runs: JPEG of "
            f"{hxw(timed.size)} to PNG of its labels; '-': part of the network",
            *(f"{p.precision}: the {p.route} route, since {p.why}" for p in self.precisions),
        ]
        for drawing in self.drawings:
            alike = "are equal" if drawing.psnr is None else f"agree to {drawing.psnr:.1f} dB"
            lines.append(f"{drawing.kind}: the golden images {alike}")
        return "\n".join(lines)


def _table(rows: Iterable[Sequence[str]]) -> list[str]:
    table = list(rows)
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
