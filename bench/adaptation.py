"""Source-only, adapted and oracle side by side on one pair of cities, over seeds; prints a table.

    python bench/adaptation.py toytown --seeds 0,1,2
    python bench/adaptation.py airsim_camvid --data ../shared/data
    python bench/adaptation.py camvid_dusk --data ../shared/data

Every cell is a run of the command line; finished runs are kept in --out and not repeated. The score
is the last checkpoint's on frames that no run has trained on. Writes bench/results/PAIR.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(os.path.relpath(Path(__file__).parent))


class Pair(NamedTuple):
    """Two cities and how networks are trained on them; {data} and {bench} are filled in."""

    source: str
    target: str
    scored_on: str
    source_size: str
    size: str
    options: str
    adversary: str


MOBILENET = (
    "--weights {data}/weights/mobilenet_v2_imagenet.safetensors --batch 8 "
    "--crop 144x192 --scale 1 1.5 --blur 0.2"
)
PAIRS = {
    "toytown": Pair(
        source="toytown:game",
        target="toytown:camera",
        scored_on="toytown:camera#val",
        source_size="",
        size="",
        options="--weights none --backbone-scale 1 --lr 3e-3 --batch 4 --steps 300",
        adversary="--width-d 16",
    ),
    "airsim_camvid": Pair(
        source="folder:{data}/airsim@{bench}/airsim.json#train",
        target="camvid:{data}/camvid#train",
        scored_on="camvid:{data}/camvid#val",
        source_size="180x320",
        size="240x320",
        options=MOBILENET + " --steps 1000 --classes sky,building,pole,road,vegetation,fence,car",
        adversary="--width-d 16",
    ),
    "camvid_dusk": Pair(
        source="camvid:{data}/camvid#train/!0001TP*",
        target="camvid:{data}/camvid#train/0001TP_00[67]*",
        scored_on="camvid:{data}/camvid#train/0001TP_008*",
        source_size="240x320",
        size="240x320",
        options=MOBILENET + " --steps 400",
        adversary="--width-d 16",
    ),
}


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("pair", choices=PAIRS)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--out", default="runs")
    asked = parser.parse_args()
    pair = Pair(*(text.format(data=asked.data, bench=HERE) for text in PAIRS[asked.pair]))
    seeds = [int(seed) for seed in asked.seeds.split(",")]
    rows = {
        "source_only": ("source_only", pair.source, pair.source_size, ""),
        "output_adversary": ("output_adversary", pair.source, pair.source_size, pair.adversary),
        "oracle": ("source_only", pair.target, pair.size, ""),
    }
    found: dict[str, list[Any]] = {}
    for title, (method, source, size, more) in rows.items():
        for seed in seeds:
            run = Path(asked.out) / asked.pair / f"{title}-{seed}"
            cities = ["--source", source, "--target", pair.target, "--out", str(run)]
            sizes = ["--source-size", size, "--size", pair.size]
            options = ["--seed", str(seed), *f"{pair.options} {more}".split()]
            took = roadshift("adapt", method, *cities, *sizes, *options)
            roadshift("evaluate", str(run), "--data", pair.scored_on, "--json", f"{run}.json")
            found.setdefault(title, []).append(json.loads(Path(f"{run}.json").read_text()))
            print(
                f"{title}, seed {seed}: {found[title][-1]['miou']:.1f} ({took:.0f} s)", flush=True
            )
    text = table(asked.pair, pair, seeds, found)
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / f"{asked.pair}.md").write_text(text)
    print(text)


def roadshift(*arguments: str) -> float:
    """Run one command; its seconds."""
    begun = time.monotonic()
    subprocess.run([sys.executable, "-m", "roadshift", *arguments], check=True)
    return time.monotonic() - begun


def table(name: str, pair: Pair, seeds: list[int], found: dict[str, list[Any]]) -> str:
    """IoU per class and mIoU in percent, mean ± deviation over the seeds, as Markdown."""
    first = next(iter(found.values()))[0]
    classes = list(first["iou"])
    lines = [
        f"# {name}: {pair.source} -> {pair.target}, scored on {pair.scored_on}",
        "",
        f"`{pair.options}`; adversary: `{pair.adversary}`.",
        "IoU in percent of the last checkpoint, labels at full size, one scale, no flip, on",
        f"{first['images']} images, mean and deviation over seeds {seeds}. The oracle is",
        "source_only trained on the target's own labels.",
        f"Made by `python bench/adaptation.py {name}`.",
        "",
        "| | mIoU | by seed | " + " | ".join(classes) + " |",
        "|---" * (len(classes) + 3) + "|",
    ]
    for title, runs in found.items():
        mious = [run["miou"] for run in runs]
        cells = [spread(mious), ", ".join(f"{miou:.1f}" for miou in mious)]
        cells += [spread([run["iou"][c] for run in runs]) for c in classes]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def spread(values: list[Any]) -> str:
    """Mean, and the standard deviation where there are several values."""
    numbers = [float(v) for v in values if isinstance(v, int | float)]
    if not numbers:
        return "absent"
    deviation = f" ± {statistics.stdev(numbers):.1f}" if len(numbers) > 1 else ""
    return f"{statistics.mean(numbers):.1f}{deviation}"


if __name__ == "__main__":
    main()
