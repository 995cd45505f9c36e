"""From settings to a finished run folder: open the data, build the method, train, resume."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from lightning.fabric import Fabric

from adapt import checkpoint
from adapt.batches import make_draws
from adapt.checkpoint import RunInfo
from adapt.datasets import Images, LabelledImages, labelled, unlabelled
from adapt.evaluate import Views, evaluate
from adapt.fit import Method, fit
from adapt.labels import Colour, trained_classes
from adapt.monitor import Monitor
from adapt.networks.segmentor import Segmentor
from adapt.networks.weights import init_segmentor
from adapt.progress_pictures import segmented
from adapt.run import Run, parse_size
from roadshift import UserError, __version__


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


@runtime_checkable
class Named(Protocol):
    """Classes and their colours: a labelled set's, or a run's."""

    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def palette(self) -> tuple[Colour, ...]: ...


def fingerprints(source: LabelledImages, target: Images) -> dict[str, str]:
    """By which a run is known to have had the same data."""
    return {"source": source.fingerprint, "target": target.fingerprint}


def describe(
    name: str, config: Any, run: Run, named: Named, fingerprints: dict[str, str]
) -> RunInfo:
    """What run.json will say."""
    return RunInfo(
        method=name,
        network=run.network,
        classes=named.classes,
        palette=named.palette,
        source=run.source,
        target=run.target,
        work_size=parse_size(run.size, "size"),
        commit=_commit(),
        steps=run.steps,
        seed=run.seed,
        settings=json.loads(json.dumps({**run.settings(), **asdict(config)})),
        fingerprints=fingerprints,
        versions={
            "roadshift": __version__,
            "python": platform.python_version(),
            **{p: importlib.metadata.version(p) for p in ("torch", "torchvision", "lightning")},
        },
    )


def claim(out: Path, info: RunInfo) -> None:
    """Make the run folder, or check that the one there is this very run.

    A run that saved nothing yet is replaced. Raises UserError naming the first setting that
    differs, or the data that changed.
    """
    if not (out / "run.json").is_file() and out.is_dir() and any(out.iterdir()):
        raise UserError(f"{out} holds other things and no run; give --out an empty folder")
    if not (out / "last.safetensors").is_file():
        checkpoint.write_info(out, info)
        return
    there = checkpoint.read_info(out)
    mine = {"method": info.method, **info.settings, **info.fingerprints}
    theirs = {"method": there.method, **there.settings, **there.fingerprints}
    for key in sorted(mine.keys() | theirs.keys()):
        if mine.get(key) != theirs.get(key):
            raise UserError(
                f"{out} holds another run: {key} is {theirs.get(key)!r} there and "
                f"{mine.get(key)!r} here; give another --out, or delete that folder"
            )


def make_fabric(run: Run) -> Fabric:
    """The device, the precision and the processes a run asks for; UserError if not there."""
    if run.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no CUDA device here; use --device cpu")
    cuda = run.device != "cpu" and torch.cuda.is_available()
    if run.batch_norm == "sync" and not cuda:
        raise UserError("--batch-norm sync needs CUDA devices; use train or frozen on the CPU")
    if run.threads:
        torch.set_num_threads(run.threads)
    return Fabric(
        accelerator="cuda" if cuda else "cpu",
        devices=run.devices,
        strategy="ddp" if run.devices > 1 else "auto",
        precision="bf16-mixed" if run.precision == "bf16" else "32-true",
    )


def _commit() -> str:
    """The code's git commit, with a + when it was changed since; "" where there is no git."""
    root = Path(__file__).parent.parent
    commands = [
        ["git", "-C", str(root), *c]
        for c in (("rev-parse", "HEAD"), ("status", "--porcelain", "-uno"))
    ]
    try:
        head, dirty = (
            subprocess.run(c, capture_output=True, text=True, check=True).stdout for c in commands
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head.strip() + "+" * bool(dirty)
