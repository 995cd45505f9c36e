"""Runs that are looked at side by side, and the classes that all of them know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from adapt import checkpoint
from adapt.checkpoint import RunInfo
from adapt.data.classes import Colour
from adapt.data.datasets import LabelledImages
from adapt.evaluation.cost import Function
from roadshift import UserError


class OpenedRun(NamedTuple):
    """A run that is looked at; its segmentor is on the device asked for."""

    path: Path
    name: str
    info: RunInfo
    function: Function


def opened(
    runs: Sequence[Path], device: str, size: tuple[int, int] | None = None
) -> list[OpenedRun]:
    """All runs, by their folders' names, or by their paths where two have the same name.

    Each looks at images in that size, or in the one that it trained at. A run that deploys the mean
    of several segmentors is followed by each of them. Raises UserError for none, or for a folder
    that is no run.
    """
    if not runs:
        raise UserError("no run was named; give one run folder or more")
    found: list[OpenedRun] = []
    for run, name in zip(runs, checkpoint.names_of(runs), strict=True):
        saved = checkpoint.read(run)
        saved.segmentor.to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        seen_at = size or saved.info.work_size
        functions = {name: saved.segmentor}
        functions |= {f"{name} {part}": one for part, one in checkpoint.alone(saved).items()}
        found += [
            OpenedRun(run, title, saved.info, Function(segmentor, seen_at))
            for title, segmentor in functions.items()
        ]
    return found


def colours_of(candidates: Sequence[OpenedRun]) -> dict[str, Colour]:
    """All classes of all runs, each in the colour of the first run that has it."""
    colours: dict[str, Colour] = {}
    for one in candidates:
        for name, colour in zip(one.info.classes, one.info.palette, strict=True):
            colours.setdefault(name, colour)
    return colours


def shared_classes(candidates: Sequence[OpenedRun]) -> tuple[str, ...]:
    """The classes that all runs have, in the order of the first."""
    sets = [one.info.classes for one in candidates]
    shared = tuple(c for c in sets[0] if all(c in classes for classes in sets))
    if not shared:
        each = "; ".join(f"{one.name}: {', '.join(one.info.classes)}" for one in candidates)
        raise UserError(f"the runs have no class in common ({each}); compare runs that share some")
    return shared


def common_class_map(candidates: Sequence[OpenedRun]) -> Mapping[str, str]:
    """The class map that all runs have; it may be empty."""
    first = candidates[0]
    for one in candidates:
        if one.info.class_map != first.info.class_map:
            raise UserError(
                f"{first.name} and {one.name} were trained with different class maps (--map): "
                "compare runs of one map"
            )
    return first.info.class_map


def of_classes_alone(labels: LabelledImages, classes: tuple[str, ...]) -> LabelledImages:
    """Labels of these classes alone, whatever classes they are asked for later."""
    known = labels.with_classes(classes)
    return replace(known, ids={k: name for k, name in known.ids.items() if name in classes})
