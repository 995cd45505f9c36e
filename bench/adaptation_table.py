"""What runs of `adaptation.py` came to, kept as JSON and as a page."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from adaptation_rows import ROWS, Pair

POINTS = 8
"""of each curve"""


class Result(NamedTuple):
    """The last evaluation of a run, seconds of training in all stages, mIoU along the way."""

    miou: float
    iou: dict[str, float | None]
    images: int
    seconds: float
    curve: list[float]


Found = dict[str, dict[int, Result]]
"""by row and seed"""


def measured(path: Path) -> Found:
    """What earlier calls wrote, by row and seed."""
    rows = json.loads(path.read_text()) if path.is_file() else {}
    return {
        title: {int(seed): Result(**result) for seed, result in seeds.items()}
        for title, seeds in rows.items()
    }


def write_measured(path: Path, found: Found) -> None:
    """Keep what was measured, for the rows that are still to come."""
    rows = {
        title: {seed: result._asdict() for seed, result in seeds.items()}
        for title, seeds in found.items()
    }
    path.write_text(json.dumps(rows, indent=1) + "\n")


def table(asked: str, pair: Pair, steps: int, found: Found, costs: Path) -> str:
    """IoU per class and mIoU in percent, mean ± deviation over seeds, and `costs`; the curves."""
    cost_of = costs_of(costs)
    first = next(iter(next(iter(found.values())).values()))
    classes = list(first.iou)
    lines = [
        f"# {asked}: {pair.source.train} -> {pair.target.train}, scored on {pair.target.val}",
        "",
        f"LR-ASPP MobileNetV2, target images of {pair.target.size}, crops of {pair.crop},",
        f"`{pair.options} --scale {pair.scale}`, {steps} steps of 4 images a city, stages counted.",
        f"IoU in percent of the last checkpoint, labels at full size, on {first.images} images.",
        "Gap: share of the way from source_only to the oracle of the same seeds. Minutes: of one",
        f"{'run among others on that card' if '--on' in asked else 'CPU core, beside other work'}.",
        "GFLOPs and ms: of a frame through what is deployed, in torch on a CPU, kinds in turns.",
        f"Made by `python bench/adaptation.py {asked} --costs`.",
        "",
        "| | seeds | mIoU | gap | minutes | GFLOPs | ms | " + " | ".join(classes) + " |",
        "|---" * (len(classes) + 7) + "|",
    ]
    for title, runs in found.items():
        results = list(runs.values())
        mious = [r.miou for r in results]
        minutes = statistics.mean(r.seconds for r in results) / 60
        cells = [", ".join(map(str, runs)), spread(mious), gap(title, found), f"{minutes:.0f}"]
        cells += cost_cells(title, cost_of)
        cells += [spread([r.iou[c] for r in results]) for c in classes]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    lines += ["", "mIoU along the way, mean over seeds, after shares of a row's own steps:", ""]
    shares = [f"{k}/{POINTS}" for k in range(1, POINTS + 1)]
    lines += ["| | " + " | ".join(shares) + " |", "|---" * (POINTS + 1) + "|"]
    for title, runs in found.items():
        curves = list(zip(*(r.curve for r in runs.values()), strict=False))
        if not curves:  # of stages: the networks along the way are not the result
            continue
        cells = [f"{statistics.mean(c):.1f}" for c in curves]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def costs_of(path: Path) -> dict[str, Any]:
    """What was measured of a frame in each kind of network."""
    return json.loads(path.read_text()) if path.is_file() else {}


def cost_cells(title: str, costs: dict[str, Any]) -> list[str]:
    """GFLOPs and milliseconds of what a row deploys, empty where they were not measured."""
    cost = costs.get(ROWS[title].deployed)
    return [f"{cost['gflops']:.2f}", f"{cost['milliseconds']:.0f}"] if cost else ["", ""]


def gap(title: str, found: Found) -> str:
    """The share that a row closes, over the seeds that source_only and the oracle have as well."""
    three = [found.get(name, {}) for name in (title, "source_only", "oracle")]
    seeds = set(three[0]) & set(three[1]) & set(three[2])
    if not seeds:
        return ""
    row, base, best = (sum(runs[s].miou for s in seeds) for runs in three)
    return f"{100 * (row - base) / (best - base):.0f} %" if best > base else ""


def spread(values: Sequence[Any]) -> str:
    """Mean, and the standard deviation where there are several values."""
    numbers = [float(v) for v in values if isinstance(v, int | float)]
    if not numbers:
        return "absent"
    deviation = f" ± {statistics.stdev(numbers):.1f}" if len(numbers) > 1 else ""
    return f"{statistics.mean(numbers):.1f}{deviation}"
