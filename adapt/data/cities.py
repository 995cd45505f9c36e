"""Both sides of a run: the labelled source and the unlabelled target."""

from __future__ import annotations

from typing import NamedTuple

from adapt.data.classes import trained_classes
from adapt.data.datasets import Images, LabelledImages, labelled, unlabelled
from adapt.run import Run


class Cities(NamedTuple):
    """The labelled source, with the classes that are trained, and the unlabelled target."""

    source: LabelledImages
    target: Images


def open_cities(run: Run) -> Cities:
    """Open both sides of a run; UserError for data that is not there or shares no class."""
    source = labelled(run.source, strict=run.strict)
    target = unlabelled(run.target, strict=run.strict)
    classes = trained_classes(run.classes, source.classes, target.classes)
    return Cities(source.with_classes(classes), target)
