"""Runs side by side on the same labelled images: how well each segments, and what a frame costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8

from adapt.data.classes import Colour
from adapt.data.datasets import LabelledImages, labelled, unlabelled
from adapt.evaluation.comparison_grid import Column, NamedImage, grid
from adapt.evaluation.cost import Cost, costs_of
from adapt.evaluation.evaluate import Views, evaluate
from adapt.evaluation.label_free import BEST, label_free
from adapt.evaluation.opened_runs import (
    OpenedRun,
    colours_of,
    common_class_map,
    of_classes_alone,
    opened,
    shared_classes,
)

PICTURED = 4
SIGNALLED = 32
"""images of the target"""
Labels = UInt8[np.ndarray, "h w"]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One run: IoU and mIoU in percent over the classes compared, None where no label shows one."""

    run: str
    name: str
    method: str
    network: str
    steps: int
    size: tuple[int, int] | None
    miou: float | None
    iou: dict[str, float | None]
    cost: Cost
    signal: float | None = None
    """label_free.BEST of the target's images, where those were given"""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All runs, and how they were measured; `left_out` are classes that not all runs have."""

    data: str
    images: int
    frame: tuple[int, int]
    device: str
    threads: int
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    left_out: tuple[str, ...]
    runs: tuple[Compared, ...]
    target: str = ""
    """the images without labels that the signal is of"""


class Request(NamedTuple):
    """What is asked for; without a size every run looks at the images in the size it trained at."""

    runs: Sequence[Path]
    data: str
    size: tuple[int, int] | None = None
    device: str = "cpu"
    target: str = ""
    """images without labels: each run is also asked for its label-free signal there"""


def compare(
    asked: Request, say: Callable[[str], None] = lambda _: None
) -> tuple[Comparison, UInt8[np.ndarray, "h w 3"]]:
    """Score and measure the last checkpoint of every run; the numbers, and a picture of all.

    A pixel counts when its true class is one that all runs have, so a run of more classes is asked
    the same question as the others. `say` is told what is being done. Raises UserError when a
    folder is no run, when not all have one class map and a class in common, or the labels have none
    of those classes.
    """
    candidates = opened(asked.runs, asked.device, asked.size)
    shared, colours = shared_classes(candidates), colours_of(candidates)
    truth = of_classes_alone(labelled(asked.data).mapped(common_class_map(candidates)), shared)
    chosen = np.linspace(0, len(truth) - 1, min(PICTURED, len(truth))).astype(int).tolist()
    target = unlabelled(asked.target) if asked.target else None
    say("the cost of a frame")
    frame = torch.from_numpy(truth.image(0))[None].to(asked.device)
    costs = costs_of([one.function for one in candidates], frame)
    runs: list[Compared] = []
    columns: list[Column] = []
    for one, cost in zip(candidates, costs, strict=True):
        say(f"{one.name} ({len(runs) + 1} of {len(candidates)})")
        scored, seen = _scored(one, cost, truth, chosen)
        if target:
            segmentor, size = one.function
            said = label_free(segmentor, target, size, SIGNALLED)
            scored = replace(scored, signal=said[BEST])
        title = one.name if scored.miou is None else f"{one.name}: mIoU {scored.miou:.1f}"
        runs.append(scored)
        columns.append(Column(title, seen, [colours[c] for c in one.info.classes]))
    palette = tuple(colours[c] for c in shared)
    columns.append(Column("truth", [truth.label(i) for i in chosen], palette))
    comparison = Comparison(
        data=asked.data,
        images=len(truth),
        frame=(frame.shape[1], frame.shape[2]),
        device=torch.cuda.get_device_name() if asked.device == "cuda" else "the CPU",
        threads=torch.get_num_threads(),
        classes=shared,
        palette=palette,
        left_out=tuple(c for c in colours if c not in shared),
        runs=tuple(runs),
        target=asked.target,
    )
    frames = [NamedImage(truth.images.names[i], truth.image(i)) for i in chosen]
    return comparison, grid(frames, columns, colours)


def _scored(
    one: OpenedRun, cost: Cost, truth: LabelledImages, chosen: Sequence[int]
) -> tuple[Compared, list[Labels]]:
    """One run's numbers, and its label maps of the chosen images."""
    segmentor, size = one.function
    seen: dict[int, Labels] = {}

    def see(i: int, labels: Labels) -> None:
        if i in chosen:
            seen[i] = labels

    scores = evaluate(segmentor, truth.with_classes(one.info.classes), Views(size=size), see)
    compared = Compared(
        run=str(one.path),
        name=one.name,
        method=one.info.method,
        network=one.info.network,
        steps=one.info.steps,
        size=size,
        miou=_number(scores.miou),
        iou={name: _number(scores.iou[name]) for name in truth.classes},
        cost=cost,
    )
    return compared, [seen[i] for i in chosen]


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
