"""Every method side by side on one pair of cities, over seeds, with the curve of every run.

    python bench/adaptation.py camvid_cityscapes --seeds 0,1,2
    python bench/adaptation.py camvid_cityscapes --rows source_only,oracle,output_adversary
    python bench/adaptation.py toytown

The budget is --steps gradient steps of four source images for every row (and four target images, of
those that look at the target); the stages of ldr count. Every cell is a run of the command line,
whose networks of every eighth of the steps are kept and scored: the headline is the last one's
score, on frames that no run has trained on. Finished runs are kept in --out and not repeated, and
what was measured in bench/results/PAIR.json, to which later calls add rows, on any machine.
Writes bench/results/PAIR.md. With --costs also what a frame costs in each kind of network that is
deployed, measured in turns and kept in PAIR_costs.json, whatever the steps; the same frames as
every row's first run sees them are then in OUT/PAIR/compare.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from adaptation_rows import PAIRS, ROWS, Pair, Row
from adaptation_table import POINTS, Found, Result, measured, table, write_measured

from adapt.data.classes import trained_classes
from adapt.data.datasets import labelled
from adapt.evaluation import score as evaluation
from adapt.evaluation.evaluate import Views
from adapt.saved_state import kept_steps

STEPS = 2000
HERE = Path(os.path.relpath(Path(__file__).parent))


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("pair", choices=PAIRS)
    parser.add_argument("--rows", default="source_only,source_only + style,self_training,oracle")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument(
        "--shrink", type=int, default=1, help="divides every side of images and crops"
    )
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--out", default="runs")
    parser.add_argument("--costs", action="store_true")
    parser.add_argument("--on", default="", help="another machine: results of its own, PAIR_ON")
    asked = parser.parse_args()
    seeds = [int(seed) for seed in asked.seeds.split(",")]
    pair = shrunk(PAIRS[asked.pair], asked.shrink)
    command, name = named(asked)
    runs = Path(asked.out) / name
    for seed in seeds:
        for title in filter(None, asked.rows.split(",")):
            title = ROWS[title].of or title  # noqa: PLW2901 - a part comes with its whole
            out = runs / str(seed) / file_name(title)
            result = trained(pair, ROWS[title], out, seed, asked.steps, asked.data)
            print(f"seed {seed}, {title}: {result.miou:.1f}", flush=True)
    if asked.on:
        command, name = f"{command} --on {asked.on}", f"{name}_{asked.on}"
    results = HERE / "results" / f"{name}.json"
    with alone(results.parent):
        found = finished(runs, measured(results))
        write_measured(results, found)
    costs = costs_file(asked.pair, asked.shrink)
    if asked.costs:
        measure_costs(pair, runs, costs, asked.data)
    text = table(command, pair, asked.steps, found, costs)
    results.with_suffix(".md").write_text(text)
    print(text)


@contextmanager
def alone(folder: Path) -> Generator[None]:
    """One call at a time adds its rows to what lies in the folder."""
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def named(asked: argparse.Namespace) -> tuple[str, str]:
    """What was asked for, as a command and as a name: the pair, and what is not as usual."""
    command = name = asked.pair
    if asked.shrink > 1:
        command, name = f"{command} --shrink {asked.shrink}", f"{name}_{asked.shrink}"
    if asked.steps != STEPS:
        command, name = f"{command} --steps {asked.steps}", f"{name}_{asked.steps}_steps"
    return command, name


def costs_file(pair: str, shrink: int) -> Path:
    """Where the costs of a pair's frames lie: they know no steps and no seeds."""
    name = f"{pair}_{shrink}" if shrink > 1 else pair
    return HERE / "results" / f"{name}_costs.json"


def finished(runs: Path, before: Found) -> Found:
    """Results by row and seed: those of `before`, and over them all runs that lie here."""
    found: Found = {}
    for title, row in ROWS.items():
        of_row = dict(before.get(title, {}))
        for out in runs.glob(f"*/{file_name(row.of or title)}"):
            if (out / "scored" / "last.json").is_file():
                of_row[int(out.parent.name)] = result_of(out, row.part)
        if of_row:
            found[title] = dict(sorted(of_row.items()))
    return found


def measure_costs(pair: Pair, runs: Path, to: Path, data: str) -> None:
    """Every row's first finished run beside the others: costs into `to`, frames into `runs`."""
    rows = {title: file_name(row.of or title) for title, row in ROWS.items()}
    found = {name: sorted(runs.glob(f"*/{name}/scored/last.json")) for name in rows.values()}
    first = [scores[0].parents[1] for scores in found.values() if scores]
    out = runs / "compare"
    target = pair.target.val.format(data=data, bench=str(HERE))
    roadshift("compare", *map(str, first), "--data", target, "--out", str(out))
    compared = json.loads((out / "compare.json").read_text())["runs"]
    cost_of = {run["name"]: run["cost"] for run in compared}
    costs = json.loads(to.read_text()) if to.is_file() else {}
    for title, name in rows.items():
        if cost := cost_of.get(f"{name} {ROWS[title].part}".strip()):
            costs[ROWS[title].deployed] = cost
    to.write_text(json.dumps(costs, indent=1) + "\n")


def shrunk(pair: Pair, by: int) -> Pair:
    """The pair with every side of its images and crops divided."""

    def divided(size: str) -> str:
        return "x".join(str(int(side) // by) for side in size.split("x"))

    source, target = (c._replace(size=divided(c.size)) for c in (pair.source, pair.target))
    return pair._replace(source=source, target=target, crop=divided(pair.crop))


def trained(pair: Pair, row: Row, out: Path, seed: int, steps: int, data: str) -> Result:
    """Train a row where it is not finished, then score what it kept."""
    filled = {"data": data, "bench": str(HERE), "half": str(steps // 2),
              "quarter": str(steps // 4), "eighth": str(steps // 8),
              "three_quarters": str(3 * steps // 4)}  # fmt: skip
    own = round(steps * row.share)
    source = pair.target if row.oracle else pair.source
    how = [
        *("adapt", row.method, "--source", source.train, "--target", pair.target.train),
        *("--source-size", source.size, "--classes", pair.classes, *pair.options.split()),
    ]
    if row.teacher:
        how = ["distill", str(out.parent / file_name(row.teacher))]
    command = [
        *how,
        *("--size", pair.target.size, "--crop", pair.crop),
        *("--scale", *(row.scale or pair.scale).split()),
        *("--seed", str(seed), "--steps", str(own), "--batch", "4"),
        *("--keep-every", str(max(own // POINTS, 1)), "--picture-every", str(max(own // 4, 1))),
        *("--threads", "1", "--cache", "memory", "--out", str(out)),
        *row.options.split(),
    ]
    if row.labels_from:
        for k in range(3):
            taught = out.parent.parent / str(k) / file_name(row.labels_from)
            command += ["--labels-from", str(taught)]
    if "{presence}" in row.options:
        filled["presence"] = str(presence(pair, out.parent, data))
    roadshift(*(word.format(**filled) for word in command))
    scored_on = pair.target.val.format(**filled)
    for which in (*(str(step) for step in kept_steps(out)), "last"):
        score(out, which, scored_on)
    return result_of(out)


def presence(pair: Pair, folder: Path, data: str) -> Path:
    """Which classes the target's images show, by their labels: for weakly supervised rows."""
    path = folder / "presence.json"
    if not path.is_file():
        target = pair.target.train.format(data=data, bench=str(HERE))
        source = labelled(pair.source.train.format(data=data, bench=str(HERE)))
        classes = trained_classes(pair.classes, source.classes, labelled(target).classes)
        roadshift("data", "image_labels", target, "--out", str(path), "--classes",
                  ",".join(classes))  # fmt: skip
    return path


def score(out: Path, which: str, scored_on: str) -> None:
    """Evaluate one checkpoint, once."""
    if not scored(out, which).is_file():
        pictures = out / "scored" / "pictures" if which == "last" else None
        found = evaluation.score(out, which, scored_on, Views(), device="auto", pictures=pictures)
        found.write(scored(out, which))


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


if __name__ == "__main__":
    main()
