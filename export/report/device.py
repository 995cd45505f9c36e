"""The part of a report that says where the graphs ran and how long a frame took."""

from __future__ import annotations

from collections.abc import Iterator

from export.report.document import Block, Heading, Points, Table, Text
from roadshift import hxw
from serve.device_check.device_report import DeviceReport, PrecisionReport
from serve.device_check.latency import STAGES


def device_blocks(device: DeviceReport) -> Iterator[Block]:
    """The provider of the nodes, the golden frames, and the time of every stage."""
    timed = device.precisions[0].latency
    yield Heading("As a server runs it")
    yield Text(
        f"{device.runtime} on {device.provider} ({device.machine}). Golden frames are those whose "
        "labels torch gave; the worst one counts. INT8 is rewritten for the CPU when it is loaded."
    )
    heads = (
        "precision",
        "multiply-adds in it",
        "labels by",
        "golden labels equal",
        "routes agree",
        "nodes by provider",
    )
    yield Table(heads, [_placed(precision) for precision in device.precisions])
    yield Points([f"{p.precision}: the {p.route} route, since {p.why}" for p in device.precisions])
    yield Text(
        f"Milliseconds from a JPEG of {hxw(timed.size)} to a PNG of its labels: median / 95th / "
        f"99th percentile of {timed.runs} runs on the machine that exported, maybe a busy one. "
        "pre is what comes before the first convolution, on the host and in the graph; '-' is part "
        "of the network."
    )
    yield Table(("precision", *STAGES), [_timed(precision) for precision in device.precisions])


def _placed(precision: PrecisionReport) -> tuple[str, ...]:
    agree = "-" if precision.routes_agree is None else f"{precision.routes_agree:.4%}"
    nodes = ", ".join(f"{count} {name}" for name, count in precision.placement.nodes.items())
    golden = f"{min(precision.golden.values()):.4%}"
    share = "all" if precision.lowered is None else f"{precision.lowered:.1%}"
    return precision.precision, share, precision.route, golden, agree, nodes


def _timed(precision: PrecisionReport) -> tuple[str, ...]:
    times = [precision.latency.stages[stage] for stage in STAGES]
    shown = ["-" if t is None else f"{t.p50:.1f} / {t.p95:.1f} / {t.p99:.1f}" for t in times]
    return precision.precision, *shown
