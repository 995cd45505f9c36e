"""Runs on a city that none of them has seen (Sankaranarayanan et al., CVPR 2018, section 5.5)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from adapt.checkpoint import RunInfo
from adapt.data.datasets import labelled
from adapt.data.reading.parse import parse
from adapt.evaluation.evaluate import Scores, Views, evaluate
from adapt.evaluation.opened_runs import (
    common_class_map,
    of_classes_alone,
    opened,
    shared_classes,
)
from roadshift import UserError


class Unseen(NamedTuple):
    """The classes that all runs and the labels have; each run's scores over them, in percent."""

    images: int
    classes: tuple[str, ...]
    scores: dict[str, Scores]


def unseen(
    runs: Sequence[Path], spec: str, device: str, say: Callable[[str], None] = lambda _: None
) -> Unseen:
    """Score every run's last checkpoint on the pixels of the common classes.

    A pixel that is taken for another class, common or not, is wrong. Raises UserError when a run
    was trained on images of the same place, and as `compare` does.
    """
    candidates = opened(runs, device)
    for one in candidates:
        _must_be_unseen(one.name, one.info, spec)
    data = labelled(spec).mapped(common_class_map(candidates))
    theirs = set(data.ids.values())
    classes = tuple(c for c in shared_classes(candidates) if c in theirs)
    truth = of_classes_alone(data, classes or shared_classes(candidates))
    scores: dict[str, Scores] = {}
    for one in candidates:
        say(one.name)
        segmentor, size = one.function
        found = evaluate(segmentor, truth.with_classes(one.info.classes), Views(size=size)).iou
        iou = {name: found[name] for name in classes}
        there = [
            v for v in iou.values() if not math.isnan(v)
        ]  # nan: nowhere in the labels or predicted
        scores[one.name] = Scores(sum(there) / len(there) if there else math.nan, iou)
    return Unseen(len(truth), classes, scores)


def _must_be_unseen(name: str, info: RunInfo, spec: str) -> None:
    asked = parse(spec)
    for city in (info.source, info.target):
        known = parse(city)
        if (known.kind, known.path.resolve()) == (asked.kind, asked.path.resolve()):
            raise UserError(
                f"{name} was trained on images of {city}: {spec} is no unseen city to it; give a "
                "third one, or ask `roadshift evaluate`"
            )
