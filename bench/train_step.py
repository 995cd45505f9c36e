"""Seconds of a training step of each method on this machine's CPU, by batch and threads.

    python bench/train_step.py

LR-ASPP MobileNetV2 on random images of 128x256, 12 classes; the least of five steps, and what a
step of the adversary costs in steps of source-only.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch
from torch import nn

from adapt.data.classes import IGNORE
from adapt.data.drawing.batches import Batch
from adapt.fit import Method
from adapt.methods.output_adversary import Config as AdversaryConfig
from adapt.methods.output_adversary import OutputAdversary
from adapt.methods.source_only import Config, SourceOnly
from adapt.run import Run

CLASSES = 12


def seconds(method: Method, batch: int) -> float:
    """The least of five steps, after one that is not counted."""
    for part in method.state.values():
        if isinstance(part, nn.Module):
            part.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    x = torch.rand(batch, 3, 128, 256).to(memory_format=torch.channels_last)
    y = torch.randint(0, CLASSES, (batch, 128, 256), dtype=torch.uint8)
    drawn = Batch(x, y, x, torch.full_like(y, IGNORE))
    times: list[float] = []
    for _ in range(6):
        begun = time.perf_counter()
        method.step(drawn)
        times.append(time.perf_counter() - begun)
    return min(times[1:])


def main() -> None:
    """Print one row a setting."""
    run = Run(source="", target="", out=Path(), weights="none")
    print("threads  batch  source_only s  output_adversary s  ratio")
    for threads in sorted({1, os.cpu_count() or 1}):
        torch.set_num_threads(threads)
        for batch in (4, 8):
            plain = seconds(SourceOnly(Config(), run, CLASSES), batch)
            both = seconds(OutputAdversary(AdversaryConfig(width_d=16), run, CLASSES), batch)
            print(f"{threads:7}  {batch:5}  {plain:13.2f}  {both:18.2f}  {both / plain:5.1f}")


if __name__ == "__main__":
    main()
