"""A method of one stage: the run folder itself is the stage."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Protocol, runtime_checkable

from adapt.data.cities import Cities, class_map_of, open_cities
from adapt.data.datasets import labelled
from adapt.data.drawing.draws import CITIES, make_draws
from adapt.device import make_fabric
from adapt.evaluation.evaluate import Views, evaluate
from adapt.fit import Method
from adapt.networks.segmentor import Segmentor
from adapt.networks.weights import init_segmentor
from adapt.pictures.overlay import Picture
from adapt.run import Run, parse_size
from adapt.stages.claim import describe, fingerprints
from adapt.stages.progress_pictures import segmented
from adapt.stages.runner import Stages, Training, decided_by
from adapt.stages.signals import signals
from roadshift import UserError


def train(
    name: str,
    make: Callable[[Any, Run, int], SegmentingMethod],
    config: Any,
    run: Run,
    cities: Collection[str] = CITIES,
    picture: Callable[[Any, Cities, Run], Picture] | None = None,
) -> bool:
    """Train method `name`, built by `make(config, run, number of classes)`, into `run.out`.

    `cities` are the sides whose images it looks at: the others are not loaded. `picture` draws what
    the method can do by now; by itself: what it makes of target images.
    A run folder that holds the same settings is resumed, a finished one left as it is. Returns
    whether this process is the run's first.
    Raises UserError for settings or data that do not fit, Failure when training breaks.
    """
    if run.keep_best_by == "agreement":
        raise UserError(
            f"--keep-best-by agreement asks a teacher, and {name} has none: wanted "
            "information, entropy or diversity"
        )
    source, target = both = open_cities(run)
    views = Views(size=parse_size(run.size, "size"))
    stage = Training(
        name="",
        run=run,
        settings=decided_by(run, config),
        make=lambda: make(config, run, len(source.classes)),
        draws=lambda: make_draws(run, source, target, cities=cities),
        begin=lambda method: init_segmentor(method.segmentor, run.weights),
        picture=lambda method: (
            picture(method, both, run)
            if picture
            else segmented(method.segmentor, target, views, source.palette)
        ),
        signals=lambda method: signals([method.segmentor], target, views.size),
        select=selecting(run, source.classes),
    )
    info = describe(name, stage.settings, run, source, fingerprints(source, target))
    return Stages(info, run, make_fabric(run), [stage]).run()


def selecting(run: Run, classes: tuple[str, ...]) -> Callable[[SegmentingMethod], float] | None:
    """What --select-on asks of a checkpoint: its mIoU there; None where it asks nothing."""
    if not run.select_on:
        return None
    scored = labelled(run.select_on).mapped(class_map_of(run)).with_classes(classes)
    views = Views(size=parse_size(run.size, "size"))
    return lambda method: evaluate(method.segmentor, scored, views).miou


@runtime_checkable
class SegmentingMethod(Method, Protocol):
    """A method whose whole result is a segmentor."""

    @property
    def segmentor(self) -> Segmentor: ...
