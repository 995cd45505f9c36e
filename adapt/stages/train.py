"""From settings to a finished run folder: open the data, build the method, train, resume."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch

from adapt.data.batches import make_draws
from adapt.data.cities import open_cities
from adapt.data.datasets import labelled
from adapt.device import make_fabric
from adapt.evaluation.evaluate import Views, evaluate
from adapt.fit import Method, fit
from adapt.monitor import Monitor
from adapt.networks.segmentor import Segmentor
from adapt.networks.weights import init_segmentor
from adapt.run import Run, parse_size
from adapt.stages.claim import claim, describe, fingerprints
from adapt.stages.progress_pictures import segmented


def train(
    name: str, make: Callable[[Any, Run, int], SegmentingMethod], config: Any, run: Run
) -> bool:
    """Train method `name`, built by `make(config, run, number of classes)`, into `run.out`.

    A run folder that holds the same settings is resumed, a finished one left as it is. Returns
    whether this process is the run's first.
    Raises UserError for settings or data that do not fit, Failure when training breaks.
    """
    source, target = open_cities(run)
    info = describe(name, config, run, source, fingerprints(source, target))
    fabric = make_fabric(run)
    claim(run.out, info)
    fabric.launch()  # with several devices, the others start here and come this way again
    torch.manual_seed(run.seed)
    method = make(config, run, len(source.classes))
    segmentor, views = method.segmentor, Views(size=parse_size(run.size, "size"))
    if not (run.out / "last.safetensors").is_file():
        init_segmentor(segmentor, run.weights)
    select = None
    if run.select_on:
        select_on = labelled(run.select_on).with_classes(source.classes)
        select = lambda: evaluate(segmentor, select_on, views).miou  # noqa: E731
    picture = partial(segmented, segmentor, target, views, info.palette)
    monitor = Monitor(run, picture, select) if fabric.global_rank == 0 else None
    fit(method, make_draws(run, source, target), run, fabric, monitor)
    return monitor is not None


@runtime_checkable
class SegmentingMethod(Method, Protocol):
    """A method whose whole result is a segmentor."""

    @property
    def segmentor(self) -> Segmentor: ...
