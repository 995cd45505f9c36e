"""Both sides of a run: the labelled source and the unlabelled target."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from adapt.data.classes import trained_classes
from adapt.data.datasets import Images, LabelledImages, labelled, unlabelled
from adapt.data.reading.class_map import must_know, read_class_map
from adapt.run import Run


class Cities(NamedTuple):
    """The labelled source, with the classes that are trained, and the unlabelled target.

    Both by the names of the run's class map.
    """

    source: LabelledImages
    target: Images


def open_cities(run: Run) -> Cities:
    """Open both sides of a run; UserError for data that is not there or shares no class."""
    source = labelled(run.source, strict=run.strict)
    target = unlabelled(run.target, strict=run.strict)
    if class_map := class_map_of(run):
        must_know(run.map, class_map, (*source.ids.values(), *(target.classes or ())))
        source, target = source.mapped(class_map), target.mapped(class_map)
    classes = trained_classes(run.classes, source.classes, target.classes)
    return Cities(source.with_classes(classes), target)


def class_map_of(run: Run) -> dict[str, str]:
    """The class map of --map; empty where there is none."""
    return read_class_map(Path(run.map)) if run.map else {}
