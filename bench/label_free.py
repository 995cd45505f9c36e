"""How well each label-free signal ranks checkpoints and methods, on runs whose truth is at hand.

    python bench/label_free.py runs --images 16

`runs` is what `adaptation.py` leaves: PAIR/SEED/ROW, each with kept checkpoints and scored/*.json.
The signals see target images of training, without labels; the truth is what was scored on others.
What was looked at is kept in bench/results/label_free.json, and not looked at again: stopped, the
same command goes on. Every other checkpoint comes first. Writes bench/results/label_free.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from adapt import checkpoint
from adapt.data.datasets import unlabelled
from adapt.evaluation.label_free import BETTER, label_free, ranking
from adapt.saved_state import kept_steps

HERE = Path(os.path.relpath(Path(__file__).parent))
Key = Callable[["Seen"], tuple[str, ...]]
LEAST = 3
"""ranks of fewer say nothing"""


class Seen(NamedTuple):
    """One checkpoint: whose it is, what it signals, its mIoU in percent."""

    pair: str
    seed: str
    row: str
    step: int
    signals: dict[str, float]
    miou: float


def main() -> None:
    """Look at every scored checkpoint and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--images", type=int, default=16)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    kept = HERE / "results" / "label_free.json"
    raw: list[dict[str, Any]] = json.loads(kept.read_text()) if kept.is_file() else []
    seen = [Seen(**one) for one in raw]
    for run, step in scored(asked.runs):
        if not any((*run.parts[-3:], step) == (s.pair, s.seed, s.row, s.step) for s in seen):
            seen.append(looked_at(run, step, asked.images))
            kept.write_text(json.dumps([one._asdict() for one in seen], indent=1) + "\n")
            (HERE / "results" / "label_free.md").write_text(table(seen, asked.images))
    print(table(seen, asked.images))


def scored(runs: Path) -> Iterator[tuple[Path, int]]:
    """The kept checkpoints that were scored, of what is a run: the even ones, then the others."""
    found = [run for run in sorted(runs.glob("*/*/*")) if (run / "run.json").is_file()]
    for first in (1, 0):
        for run in found:
            for step in kept_steps(run)[first::2]:
                if (run / "scored" / f"{step}.json").is_file():
                    yield run, step


def looked_at(run: Path, step: int, images: int) -> Seen:
    """One checkpoint's signals, beside its score."""
    saved = checkpoint.read(run, str(step))
    target, size = unlabelled(saved.info.target), saved.info.work_size
    found = label_free(saved.segmentor, target, size, images)
    miou = float(json.loads((run / "scored" / f"{step}.json").read_text())["miou"])
    print(run, step, f"{miou:.1f}", flush=True)
    return Seen(run.parts[-3], run.parts[-2], run.parts[-1], step, found, miou)


def table(seen: Sequence[Seen], images: int) -> str:
    """Signals down; across, means of rank correlations over each way to group checkpoints."""
    pairs = sorted({one.pair for one in seen})
    groups = {
        "checkpoints of a run": grouped(seen, lambda s: (s.pair, s.seed, s.row)),
        "methods of a pair and seed": grouped(last_of_each(seen), lambda s: (s.pair, s.seed)),
        **{
            f"all of {pair}": grouped([s for s in seen if s.pair == pair], lambda s: (s.pair,))
            for pair in pairs
        },
    }
    ranked = {name: [ranks(group) for group in each] for name, each in groups.items()}
    lines = [
        "# Label-free signals: rank correlation with mIoU",
        "",
        "Spearman's, its sign turned so that 1 ranks as the truth does, of "
        f"{len(seen)} checkpoints of {len(last_of_each(seen))} runs on {images} target images.",
        "Means over groups, whose number is in brackets; methods by their last checkpoints, the",
        "oracle among them.",
        "Made by `python bench/label_free.py runs`.",
        "",
        "| signal | " + " | ".join(f"{name} ({len(each)})" for name, each in ranked.items()) + " |",
        "|---" * (len(ranked) + 1) + "|",
    ]
    for signal in BETTER:
        cells = [mean([found[signal] for found in each]) for each in ranked.values()]
        lines.append(f"| {signal} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def grouped(seen: Sequence[Seen], key: Key, least: int = LEAST) -> list[list[Seen]]:
    """Checkpoints with the same key, where there are enough to be ranked."""
    groups: dict[tuple[str, ...], list[Seen]] = {}
    for one in seen:
        groups.setdefault(key(one), []).append(one)
    return [group for group in groups.values() if len(group) >= least]


def last_of_each(seen: Sequence[Seen]) -> list[Seen]:
    """Each run's last checkpoint."""
    found: dict[tuple[str, str, str], Seen] = {}
    for one in sorted(seen, key=lambda s: s.step):
        found[one.pair, one.seed, one.row] = one
    return list(found.values())


def ranks(group: Sequence[Seen]) -> dict[str, float]:
    """Of each signal."""
    return ranking([one.signals for one in group], [one.miou for one in group])


def mean(values: Sequence[float]) -> str:
    """For the table; of the groups in which the signal varies at all."""
    known = [v for v in values if not math.isnan(v)]
    return f"{statistics.mean(known):+.2f}" if known else "–"


if __name__ == "__main__":
    main()
