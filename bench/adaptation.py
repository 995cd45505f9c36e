"""Every method side by side on one pair of cities, over seeds; prints a table.

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
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(os.path.relpath(Path(__file__).parent))
LDR_ROWS = {"ldr S->T, no rec": "s-t", "ldr T->S, no rec": "t-s", "ldr T->S + rec": "t-s-rec"}


class Pair(NamedTuple):
    """Two cities and how networks are trained on them; {data} and {bench} are filled in."""

    source: str
    target: str
    scored_on: str
    source_size: str
    size: str
    options: str
    steps: str
    adversary: str
    ldr: str
    classes: str = ""


WEIGHTS = "{data}/weights/mobilenet_v2_imagenet.safetensors"
MOBILENET = f"--weights {WEIGHTS} --batch 4 --crop 120x160 --scale 1 1.5 --blur 0.2"
LDR = (
    "--width 16 --blocks 3 --translate-crop 96x128 --translate-lr 1e-3 --w-identity 1 --w-cycle 5 "
    "--beta 0.05 "
    f"--pretrain-lr 1e-3 --perceptual mobilenet_v2 --perceptual-weights {WEIGHTS}"
)
PAIRS = {
    "toytown": Pair(
        source="toytown:game#train/game_000[0-5]*",
        target="toytown:camera#train/camera_010[0-5]*",
        scored_on="toytown:camera#val",
        source_size="",
        size="",
        options="--weights none --backbone-scale 1 --lr 3e-3 --batch 4 --crop 96x192",
        steps="200",
        adversary="--width-d 16",
        ldr=LDR + " --translate-steps 800 --pretrain-steps 200",
    ),
    "airsim_camvid": Pair(
        source="folder:{data}/airsim@{bench}/airsim.json#train",
        target="camvid:{data}/camvid#train",
        scored_on="camvid:{data}/camvid#val",
        source_size="180x320",
        size="240x320",
        options=MOBILENET,
        steps="200",
        adversary="--width-d 16",
        ldr=LDR + " --translate-steps 800 --pretrain-steps 200",
        classes="sky,building,pole,road,vegetation,fence,car",
    ),
    "camvid_dusk": Pair(
        source="camvid:{data}/camvid#train/!0001TP*",
        target="camvid:{data}/camvid#train/0001TP_00[67]*",
        scored_on="camvid:{data}/camvid#train/0001TP_008*",
        source_size="240x320",
        size="240x320",
        options=MOBILENET,
        steps="200",
        adversary="--width-d 16",
        ldr=LDR + " --translate-steps 800 --pretrain-steps 200",
    ),
}


class Result(NamedTuple):
    """What a run scored, and the seconds that training it took, earlier stages included."""

    evaluation: dict[str, Any]
    seconds: float


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
    found: dict[str, list[Result]] = {}
    for seed in seeds:
        for title, result in results(pair, Path(asked.out) / asked.pair / str(seed), seed):
            found.setdefault(title, []).append(result)
            miou = result.evaluation["miou"]
            print(f"seed {seed}, {title}: {miou:.1f} ({result.seconds:.0f} s)", flush=True)
    text = table(asked.pair, pair, seeds, found)
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / f"{asked.pair}.md").write_text(text)
    print(text)


def results(pair: Pair, out: Path, seed: int) -> Iterator[tuple[str, Result]]:
    """Train and score all rows of one seed under `out`."""
    steps = f"--steps {pair.steps}"
    for title, method, source, size, more in (
        ("source_only", "source_only", pair.source, pair.source_size, steps),
        ("source_only, twice the steps", "source_only", pair.source, pair.source_size,
         f"--steps {2 * int(pair.steps)}"),
        ("output_adversary", "output_adversary", pair.source, pair.source_size,
         f"{steps} {pair.adversary}"),
    ):  # fmt: skip
        run = out / title.replace(", ", "-").replace(" ", "-")
        if not is_scored(run):
            roadshift("adapt", method, *cities(pair, source, size, seed, run), *more.split())
        yield title, scored(pair, run, [run])
    ablation = out / "ldr"
    options = f"{steps} {pair.ldr} --ablation table3 --scored-on {pair.scored_on}"
    both = cities(pair, pair.source, pair.source_size, seed, ablation)
    if not all(is_scored(ablation / row) for row in LDR_ROWS.values()):
        roadshift("adapt", "ldr", *both, *options.split())
    for title, row in LDR_ROWS.items():
        yield title, scored(pair, ablation / row, stages(ablation, row))
    teacher, student = ablation / "t-s-rec", out / "student"
    learning = f"--student lraspp_mobilenet_v2 --seed {seed} {steps} {pair.options}"
    if not is_scored(student):
        roadshift("distill", str(teacher), "--out", str(student), *learning.split())
    yield "distilled student", scored(pair, student, [*stages(ablation, "t-s-rec"), student])
    oracle = out / "oracle"
    if not is_scored(oracle):
        roadshift("adapt", "source_only", *cities(pair, pair.target, pair.size, seed, oracle),
                  *steps.split())  # fmt: skip
    yield "oracle", scored(pair, oracle, [oracle])


def cities(pair: Pair, source: str, size: str, seed: int, run: Path) -> list[str]:
    """The options that all methods share."""
    both = ["--source", source, "--target", pair.target, "--out", str(run)]
    sizes = ["--source-size", size, "--size", pair.size]
    classes = ["--classes", pair.classes]
    return [*both, *sizes, *classes, "--seed", str(seed), *pair.options.split()]


def scored(pair: Pair, run: Path, trained: list[Path]) -> Result:
    """The run's score and the seconds in the logs of everything that was `trained` for it."""
    file = run / "scored.json"
    if not is_scored(run):
        roadshift("evaluate", str(run), "--data", pair.scored_on, "--json", str(file),
              "--pictures", str(run / "scored"))  # fmt: skip
    seconds = 0.0
    for folder in trained:
        last = (folder / "metrics.jsonl").read_text().splitlines()[-1]
        seconds += json.loads(last)["seconds"]
    return Result(json.loads(file.read_text()), seconds)


def is_scored(run: Path) -> bool:
    """Whether a run was finished and scored before."""
    return (run / "scored.json").is_file()


def stages(ablation: Path, row: str) -> list[Path]:
    """The trained stages of a row; without reconstruction there is no pretraining."""
    shared = [p for p in (ablation / "stages").iterdir() if p.name.startswith("translate")]
    if row == "t-s-rec":
        shared += [p for p in (ablation / "stages").iterdir() if p.name.startswith("pretrain")]
    return [*shared, ablation / row / "joint0", ablation / row / "joint1"]


def roadshift(*arguments: str) -> None:
    """Run one command."""
    subprocess.run([sys.executable, "-m", "roadshift", *arguments], check=True)


def table(name: str, pair: Pair, seeds: list[int], found: dict[str, list[Result]]) -> str:
    """IoU per class and mIoU in percent, mean ± deviation over the seeds, as Markdown."""
    first = next(iter(found.values()))[0].evaluation
    classes = list(first["iou"])
    lines = [
        f"# {name}: {pair.source} -> {pair.target}, scored on {pair.scored_on}",
        "",
        f"All: `{pair.options}`, {pair.steps} steps (ldr: in each of two rounds).",
        f"output_adversary: `{pair.adversary}`. ldr: `{pair.ldr}`.",
        "IoU in percent of the last checkpoint, labels at full size, one scale, no flip, on",
        f"{first['images']} images, mean and deviation over seeds {seeds}. Seconds are those of",
        "training, all stages of a row and its teacher's included, on one CPU thread of a machine",
        "that did other work as well. The oracle: source_only on the target's own labels.",
        f"Made by `python bench/adaptation.py {name}`.",
        "",
        "| | mIoU | by seed | s | " + " | ".join(classes) + " |",
        "|---" * (len(classes) + 4) + "|",
    ]
    for title, runs in found.items():
        mious = [run.evaluation["miou"] for run in runs]
        seconds = statistics.mean(run.seconds for run in runs)
        cells = [spread(mious), ", ".join(f"{miou:.1f}" for miou in mious), f"{seconds:.0f}"]
        cells += [spread([run.evaluation["iou"][c] for run in runs]) for c in classes]
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
