"""Every method side by side on one pair of cities, over seeds, with the curve of every run.

    python bench/adaptation.py camvid_cityscapes --seeds 0,1,2
    python bench/adaptation.py camvid_cityscapes --rows source_only,oracle,output_adversary
    python bench/adaptation.py toytown

The budget is --steps gradient steps of four source images for every row (and four target images, of
those that look at the target); the stages of ldr count. Every cell is a run of the command line,
whose networks of every eighth of the steps are kept and scored: the headline is the last one's
score, on frames that no run has trained on. Finished runs are kept in --out and not repeated, and
what was measured in bench/results/PAIR.json, to which later calls add rows, on any machine.
Writes bench/results/PAIR.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(os.path.relpath(Path(__file__).parent))
POINTS = 8
"""of each curve"""
WEIGHTS = "{data}/weights/mobilenet_v2_imagenet.safetensors"
CAMVID11 = "sky,building,pole,road,sidewalk,vegetation,traffic sign,fence,car,person,rider"
AIRSIM7 = "sky,building,pole,road,vegetation,fence,car"


class City(NamedTuple):
    """Where its images lie ({data} and {bench} are filled in), which are scored, and their size."""

    train: str
    val: str
    size: str


class Pair(NamedTuple):
    """Two cities and how networks are trained on them."""

    source: City
    target: City
    crop: str = "144x192"
    options: str = f"--weights {WEIGHTS} --scale 1 1.5 --blur 0.2"
    classes: str = ""


CAMVID = City("camvid:{data}/camvid#train", "camvid:{data}/camvid#val", "240x320")
CITYSCAPES = City(
    "folder:{data}/cityscapes_small#train", "folder:{data}/cityscapes_small#val", "192x384"
)
DAY = City("camvid:{data}/camvid#train/!0001TP*", "", "240x320")
DUSK = City(
    "camvid:{data}/camvid#train/0001TP_00[67]*", "camvid:{data}/camvid#train/0001TP_008*", "240x320"
)
AIRSIM = City("folder:{data}/airsim@{bench}/airsim.json#train", "", "180x320")
GAME = City("toytown:game", "", "128x256")
CAMERA = City("toytown:camera", "toytown:camera#val", "128x256")
SCRATCH = "--weights none --backbone-scale 1 --lr 3e-3"
PAIRS = {
    "camvid_cityscapes": Pair(CAMVID, CITYSCAPES, classes=CAMVID11),
    "cityscapes_camvid": Pair(CITYSCAPES, CAMVID, classes=CAMVID11),
    "camvid_dusk": Pair(DAY, DUSK),
    "airsim_cityscapes": Pair(AIRSIM, CITYSCAPES, classes=AIRSIM7),
    "airsim_camvid": Pair(AIRSIM, CAMVID, classes=AIRSIM7),
    "toytown_cityscapes": Pair(GAME, CITYSCAPES, "96x192"),
    "toytown": Pair(GAME, CAMERA, "96x192", SCRATCH),
}
STYLE = "--style statistics"
SELF = f"{STYLE} --ema 0.98 --warm-up {{quarter}}"


class Row(NamedTuple):
    """A method with its options; `share` of the steps are its own, the others its first stages'."""

    method: str
    options: str = ""
    share: float = 1.0
    oracle: bool = False
    teacher: str = ""
    """of a student: the row that it learns from, on top of that row's budget"""
    part: str = ""
    """one of the networks whose mean the row `of` deploys: nothing of its own is trained"""
    of: str = ""


LDR = (
    f"--width 16 --blocks 3 --translate-crop 96x128 --translate-lr 1e-3 --w-identity 1 --w-cycle 5 "
    f"--beta 0.05 --pretrain-lr 1e-3 --perceptual mobilenet_v2 --perceptual-weights {WEIGHTS} "
    "--translate-steps {quarter} --pretrain-steps {eighth} --tau 0.1"
)
SYMMETRIC = (
    "--width 16 --width-d 16 --blocks 3 --translate-crop 96x128 --translate-batch 4 "
    "--translate-lr 1e-3 --translate-steps {quarter}"
)
REDRAWN = "--width 16"
INTRA = "--width-d 16"
ROWS = {
    "source_only": Row("source_only"),
    "source_only + style": Row("source_only", STYLE),
    "self_training": Row("self_training", SELF),
    "self_training no style": Row("self_training", SELF.removeprefix(STYLE)),
    "self_training no mix": Row("self_training", f"{SELF} --no-mix"),
    "self_training joint norm": Row("self_training", f"{SELF} --target-norm joint"),
    "self_training separate norm": Row("self_training", f"{SELF} --target-norm separate"),
    "self_training share labels": Row("self_training", f"{SELF} --labels share"),
    "self_training low floor": Row("self_training", f"{SELF} --floor 0.3 --floor-things 0.3"),
    "self_training low floor of things": Row("self_training", f"{SELF} --floor-things 0.3"),
    "self_training half warm-up": Row("self_training", SELF.replace("quarter", "half")),
    "self_training and masks": Row("self_training", f"{SELF} --w-mask 1"),
    "self_training and rare classes": Row("self_training", f"{SELF} --sample-rare"),
    "self_training and features": Row("self_training", f"{SELF} --w-features 0.01"),
    "output_adversary": Row("output_adversary", "--width-d 16"),
    "output_adversary + style": Row("output_adversary", f"{STYLE} --width-d 16"),
    "ldr T->S + rec": Row("ldr", LDR, share=0.3125),
    "ldr S->T": Row("ldr", f"{LDR} --direction source_to_target --no-reconstruct", share=0.375),
    "intra_domain PLA": Row("intra_domain", f"{INTRA} --adversary pla --rounds 1", share=0.5),
    "intra_domain PLA+CTS": Row("intra_domain", f"{INTRA} --rounds 1", share=0.5),
    "intra_domain + round 2": Row("intra_domain", f"{INTRA} --w-kld 0", share=1 / 3),
    "intra_domain + KLD": Row("intra_domain", INTRA, share=1 / 3),
    "IntraDA": Row(
        "intra_domain",
        f"{INTRA} --split image --adversary pla --discriminator-input entropy --rounds 1",
        share=0.5,
    ),
    "feature_to_image": Row("feature_to_image", REDRAWN),
    "feature_to_image without auxiliary loss": Row("feature_to_image", f"{REDRAWN} --alpha 0"),
    "feature_to_image without patches": Row("feature_to_image", f"{REDRAWN} --no-patches"),
    "feature_to_image in feature space": Row("feature_to_image", f"{REDRAWN} --space feature"),
    "symmetric": Row("symmetric", SYMMETRIC, share=0.375),
    "symmetric A": Row("symmetric", part="A", of="symmetric"),
    "symmetric B": Row("symmetric", part="B", of="symmetric"),
    "symmetric by probability alone": Row(
        "symmetric", f"{SYMMETRIC} --consistency none", share=0.375
    ),
    "symmetric distilled": Row(
        "distill", f"--student lraspp_mobilenet_v2 --weights {WEIGHTS}", teacher="symmetric"
    ),
    "LR-ASPP student": Row(
        "distill", f"--student lraspp_mobilenet_v2 --weights {WEIGHTS}", teacher="self_training"
    ),
    "PIDNet-S student": Row(
        "distill",
        "--student pidnet_s --weights none --optimizer adamw --lr 2e-3",
        teacher="self_training",
    ),
    "oracle": Row("source_only", oracle=True),
}


class Result(NamedTuple):
    """The last evaluation of a run, seconds of training in all stages, mIoU along the way."""

    miou: float
    iou: dict[str, float | None]
    images: int
    seconds: float
    curve: list[float]


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("pair", choices=PAIRS)
    parser.add_argument("--rows", default="source_only,source_only + style,self_training,oracle")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument(
        "--shrink", type=int, default=1, help="divides every side of images and crops"
    )
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--out", default="runs")
    asked = parser.parse_args()
    seeds = [int(seed) for seed in asked.seeds.split(",")]
    pair = shrunk(PAIRS[asked.pair], asked.shrink)
    name = asked.pair + (f"_{asked.shrink}" if asked.shrink > 1 else "")
    runs = Path(asked.out) / name
    for seed in seeds:
        for title in filter(None, asked.rows.split(",")):
            title = ROWS[title].of or title  # noqa: PLW2901 - a part comes with its whole
            out = runs / str(seed) / file_name(title)
            result = trained(pair, ROWS[title], out, seed, asked.steps, asked.data)
            print(f"seed {seed}, {title}: {result.miou:.1f}", flush=True)
    results = HERE / "results" / f"{name}.json"
    found = finished(runs, measured(results))
    write_measured(results, found)
    text = table(name, pair, asked.steps, found)
    results.with_suffix(".md").write_text(text)
    print(text)


def finished(runs: Path, before: dict[str, dict[int, Result]]) -> dict[str, dict[int, Result]]:
    """Results by row and seed: those of `before`, and over them all runs that lie here."""
    found: dict[str, dict[int, Result]] = {}
    for title, row in ROWS.items():
        of_row = dict(before.get(title, {}))
        for out in runs.glob(f"*/{file_name(row.of or title)}"):
            if (out / "scored" / "last.json").is_file():
                of_row[int(out.parent.name)] = result_of(out, row.part)
        if of_row:
            found[title] = dict(sorted(of_row.items()))
    return found


def measured(path: Path) -> dict[str, dict[int, Result]]:
    """What earlier calls wrote, by row and seed."""
    rows = json.loads(path.read_text()) if path.is_file() else {}
    return {
        title: {int(seed): Result(**result) for seed, result in seeds.items()}
        for title, seeds in rows.items()
    }


def write_measured(path: Path, found: dict[str, dict[int, Result]]) -> None:
    """Keep what was measured, for the rows that are still to come."""
    rows = {
        title: {seed: result._asdict() for seed, result in seeds.items()}
        for title, seeds in found.items()
    }
    path.write_text(json.dumps(rows, indent=1) + "\n")


def shrunk(pair: Pair, by: int) -> Pair:
    """The pair with every side of its images and crops divided."""

    def divided(size: str) -> str:
        return "x".join(str(int(side) // by) for side in size.split("x"))

    source, target = (c._replace(size=divided(c.size)) for c in (pair.source, pair.target))
    return pair._replace(source=source, target=target, crop=divided(pair.crop))


def trained(pair: Pair, row: Row, out: Path, seed: int, steps: int, data: str) -> Result:
    """Train a row where it is not finished, then score what it kept."""
    filled = {"data": data, "bench": str(HERE), "half": str(steps // 2),
              "quarter": str(steps // 4), "eighth": str(steps // 8)}  # fmt: skip
    own = round(steps * row.share)
    source = pair.target if row.oracle else pair.source
    how = [
        *("adapt", row.method, "--source", source.train, "--target", pair.target.train),
        *("--source-size", source.size, "--classes", pair.classes, *pair.options.split()),
    ]
    if row.teacher:
        how = ["distill", str(out.parent / file_name(row.teacher)), "--scale", "1", "1.5"]
    command = [
        *how,
        *("--size", pair.target.size, "--crop", pair.crop),
        *("--seed", str(seed), "--steps", str(own), "--batch", "4"),
        *("--keep-every", str(max(own // POINTS, 1)), "--picture-every", str(max(own // 4, 1))),
        *("--threads", "1", "--cache", "memory", "--out", str(out)),
        *row.options.split(),
    ]
    roadshift(*(word.format(**filled) for word in command))
    scored_on = pair.target.val.format(**filled)
    for which in (*(str(step) for step in kept_steps(out)), "last"):
        score(out, which, scored_on)
    return result_of(out)


def kept_steps(out: Path) -> list[int]:
    """The steps whose networks a run kept."""
    return sorted(int(p.stem.removeprefix("step_")) for p in out.glob("step_*.safetensors"))


def score(out: Path, which: str, scored_on: str) -> None:
    """Evaluate one checkpoint, once."""
    if scored(out, which).is_file():
        return
    more = ["--pictures", str(out / "scored" / "pictures")] if which == "last" else []
    roadshift("evaluate", str(out), "--data", scored_on, "--checkpoint", which, "--json",
              str(scored(out, which)), *more)  # fmt: skip


def scored(out: Path, which: str) -> Path:
    """Where one checkpoint's evaluation lies."""
    return out / "scored" / f"{which}.json"


def result_of(out: Path, part: str = "") -> Result:
    """What a finished run's files say of it, or of one of the networks that it deploys."""
    curve = [json.loads(scored(out, str(step)).read_text())["miou"] for step in kept_steps(out)]
    logs = [path.read_text().splitlines()[-1] for path in out.rglob("metrics.jsonl")]
    seconds = sum(json.loads(last)["seconds"] for last in logs)
    last = json.loads(scored(out, "last").read_text())
    said = last["parts"][part] if part else last
    return Result(said["miou"], said["iou"], last["images"], seconds, curve)


def roadshift(*arguments: str) -> None:
    """Run one command."""
    subprocess.run([sys.executable, "-m", "roadshift", *arguments], check=True)


def file_name(title: str) -> str:
    """A row's folder."""
    return "".join(c if c.isalnum() else "-" for c in title).strip("-")


def table(name: str, pair: Pair, steps: int, found: dict[str, dict[int, Result]]) -> str:
    """IoU per class and mIoU in percent, mean ± deviation over seeds; then the curves."""
    first = next(iter(next(iter(found.values())).values()))
    classes = list(first.iou)
    lines = [
        f"# {name}: {pair.source.train} -> {pair.target.train}, scored on {pair.target.val}",
        "",
        f"LR-ASPP MobileNetV2, target images of {pair.target.size}, crops of {pair.crop},",
        f"`{pair.options}`, {steps} steps of 4 images a city, stages counted.",
        f"IoU in percent of the last checkpoint, labels at full size, on {first.images} images.",
        "Gap: share of the way from source_only to the oracle of the same seeds. Minutes: of a",
        f"thread that trains, beside other work. Made by `python bench/adaptation.py {name}`.",
        "",
        "| | seeds | mIoU | gap | minutes | " + " | ".join(classes) + " |",
        "|---" * (len(classes) + 5) + "|",
    ]
    for title, runs in found.items():
        results = list(runs.values())
        mious = [r.miou for r in results]
        minutes = statistics.mean(r.seconds for r in results) / 60
        cells = [", ".join(map(str, runs)), spread(mious), gap(title, found), f"{minutes:.0f}"]
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


def gap(title: str, found: dict[str, dict[int, Result]]) -> str:
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


if __name__ == "__main__":
    main()
