"""What a training step of every method costs beside source_only's, nothing loaded.

    python bench/method_steps.py

LR-ASPP MobileNetV2 on CamVid's and cityscapes_small's training frames, one thread, the methods in
turns on one batch; mean of the turns. The issue of self-training: one student pass over both
cities and one teacher pass without gradients at no more than 2.2 times a source-only step.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch
from deploy_setup import cpu
from torch import nn

from adapt.data.datasets import labelled, unlabelled
from adapt.data.drawing.batches import Batch, batches
from adapt.data.drawing.draws import make_draws
from adapt.device import keep_freed_memory
from adapt.methods import output_adversary, source_only
from adapt.methods.self_training.self_training import Config, SelfTraining
from adapt.run import Run

RESULTS = Path(__file__).parent / "results" / "method_steps.md"


def methods(run: Run, classes: tuple[str, ...]) -> dict[str, Any]:
    """What takes turns, by the names of the table."""

    def teaching(**config: Any) -> SelfTraining:
        method = SelfTraining(Config(**config), run, classes)
        method.begin("none")
        return method

    adversary = output_adversary.Config(width_d=16)
    return {
        "source_only": source_only.SourceOnly(source_only.Config(), run, len(classes)),
        "output_adversary, width 16": output_adversary.OutputAdversary(
            adversary, run, len(classes)
        ),
        "self_training": teaching(),
        "self_training, joint norm": teaching(target_norm="joint"),
        "self_training, no mix": teaching(mix=False),
        "self_training, masked": teaching(w_mask=1.0),
    }


def row(size: str, batch_size: int, data: str, turns: int) -> str:
    """Seconds of source_only, and how many times as long the others take."""
    run = Run(
        source=f"camvid:{data}/camvid#train", target=f"folder:{data}/cityscapes_small#train",
        out=Path(), weights="none", batch=batch_size, source_size=size, size=size, crop=size,
        workers=0, steps=1,
    )  # fmt: skip
    source = labelled(run.source)
    draws = make_draws(run, source, unlabelled(run.target), strong=True)
    batch = next(batches(draws, run, start=0, rank=0)).to(torch.device("cpu"))
    steps: dict[str, Callable[[Batch], object]] = {}
    for name, method in methods(run, source.classes).items():
        for part in method.state.values():
            if isinstance(part, nn.Module):
                part.to(memory_format=torch.channels_last).train()  # pyright: ignore[reportCallIssue]
        method.step(batch)
        steps[name] = method.step
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(turns):
        for name, step in steps.items():
            begun = time.perf_counter()
            step(batch)
            times[name].append(time.perf_counter() - begun)
    mean = {name: statistics.fmean(found) for name, found in times.items()}
    base = mean.pop("source_only")
    cells = [f"{base:.2f} s", *(f"{seconds / base:.2f}" for seconds in mean.values())]
    return f"| {size}, batch {batch_size} | " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=str(Path(__file__).parents[2] / "shared" / "data"))
    parser.add_argument("--turns", type=int, default=8)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    names = ["source_only", "output_adversary, width 16", "self_training"]
    names += [f"self_training, {more}" for more in ("joint norm", "no mix", "masked")]
    lines = [
        f"`python bench/method_steps.py`: {cpu()}, one thread, {asked.turns} turns, "
        f"{date.today().isoformat()}. Times source_only's step.",
        "",
        "| | " + " | ".join(names) + " |",
        "|---" * (len(names) + 1) + "|",
        row("144x192", 4, asked.data, asked.turns),
        row("256x512", 2, asked.data, asked.turns),
    ]
    print("\n".join(lines))
    RESULTS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
