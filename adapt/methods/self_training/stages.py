"""The run of self-training: fixed labels where asked for, then student and teacher."""

from __future__ import annotations

from pathlib import Path

import torch

from adapt import checkpoint, saved_state
from adapt.checkpoint import SavedRun
from adapt.data.cities import Cities, open_cities
from adapt.data.drawing.draws import Draws, crop_of, make_draws
from adapt.data.pseudo_labelled import PseudoLabelled
from adapt.device import make_fabric
from adapt.methods.self_training.pictures import picture
from adapt.methods.self_training.self_training import Config, SelfTraining
from adapt.networks.segmentor import Segmentor
from adapt.networks.segmentors.fused import Fused
from adapt.run import Run, parse_size
from adapt.stages.claim import describe, fingerprints
from adapt.stages.pseudo_labels import Labelling, by_views, label_files, pseudo_labels
from adapt.stages.runner import Making, Stages, Training, decided_by
from adapt.stages.signals import signals
from roadshift import UserError, hxw

RECIPES = Path(__file__).parent / "recipes"
LABELS = "pseudo_labels"


def train_self_training(config: Config, run: Run, *, shared: Path | None = None) -> bool:
    """Train into `run.out`; whether this is process 0.

    Raises UserError for settings, data or a teacher that do not fit, Failure when training breaks.
    """
    if run.select_on:
        raise UserError("self_training keeps no best checkpoint: leave out --select-on")
    cities = open_cities(run)
    crop = crop_of(run, *cities)
    if config.w_mask and min(crop) < config.mask_block:
        raise UserError(
            f"--mask-block {config.mask_block} does not fit into crops of {hxw(crop)}: give a "
            "smaller block, a larger --crop, or --w-mask 0"
        )
    return SelfTrainingRun(config, run, cities, shared).stages.run()


class SelfTrainingRun:
    """One run of the method: what it is taught with, and what it begins from."""

    def __init__(self, config: Config, run: Run, cities: Cities, shared: Path | None) -> None:
        self.config, self.run, self.cities = config, run, cities
        classes = cities.source.classes
        self.taught_by = [_read(Path(name), run, classes) for name in config.labels_from]
        self.start = (
            _read(Path(config.teacher), run, classes, same=True) if config.teacher else None
        )
        self.fabric, self.size = make_fabric(run), parse_size(run.size, "size")
        self.made_of = fingerprints(*cities)
        for name in filter(None, (config.teacher, *config.labels_from)):
            weights = saved_state.fingerprint(Path(name) / "last.safetensors")
            self.made_of[f"weights of {name}"] = weights
        told = decided_by(run, config)
        info = describe("self_training", told, run, cities.source, self.made_of)
        listed = [*([self._labels()] if self.taught_by else []), self._training()]
        self.stages = Stages(info, run, self.fabric, listed, shared)

    def _labels(self) -> Making:
        """What the mean of the runs of --labels-from is sure of in the target."""
        source, target = self.cities
        labelling = Labelling(
            segmentor=self._teachers,
            images=lambda: target,
            size=self.size,
            classes=source.classes,
            palette=source.palette,
            annotate=by_views(self.config.label_scales, self.config.label_flip),
        )
        seen = (self.run.size, self.config.label_scales, self.config.label_flip)
        return pseudo_labels(LABELS, labelling, made_of=self.made_of | {"seen at": str(seen)})

    def _teachers(self) -> Segmentor:
        nets = [saved.segmentor for saved in self.taught_by]
        return (nets[0] if len(nets) == 1 else Fused(nets)).to(self.fabric.device).eval()

    def _training(self) -> Training:
        """Student and teacher."""
        source, target = self.cities
        return Training(
            name="",
            run=self.run,
            settings=decided_by(self.run, self.config),
            needs=(LABELS,) if self.taught_by else (),
            make=self._make,
            draws=self._draws,
            begin=self._begin,
            picture=lambda method: picture(method, self._draws(), self.run, target, source.palette),
            signals=lambda method: signals([method.teacher, method.G], target, self.size),
        )

    def _make(self) -> SelfTraining:
        method = SelfTraining(self.config, self.run, self.cities.source.classes)
        if method.imagenet is not None:  # no player: the loop does not move it
            method.imagenet.to(self.fabric.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        return method

    def _draws(self) -> Draws:
        source, target = self.cities
        if not self.taught_by:
            return make_draws(self.run, source, target, strong=True)
        files = label_files(self.stages.folder(LABELS), len(target))
        return make_draws(self.run, source, PseudoLabelled(target, files), strong=True)

    def _begin(self, method: SelfTraining) -> None:
        if self.start is None:
            method.begin(self.run.weights)
            return
        for network in (method.G, method.teacher):
            network.load_state_dict(self.start.segmentor.state_dict())


def _read(path: Path, run: Run, classes: tuple[str, ...], *, same: bool = False) -> SavedRun:
    """A finished run of these classes, with `same` also of the run's network."""
    saved = checkpoint.read(path)
    if saved.info.classes != classes:
        raise UserError(
            f"{path} was trained for the classes {', '.join(saved.info.classes)}, this run has "
            f"{', '.join(classes)}; give --classes, or another run"
        )
    if same and saved.info.network != run.network:
        raise UserError(
            f"--teacher {path} is a {saved.info.network} and the student a {run.network}; give a "
            f"run of that network, or --network {saved.info.network}"
        )
    if same and set(saved.info.parts) != {"segmentor"}:
        raise UserError(
            f"--teacher {path} has the parts {', '.join(saved.info.parts)}; wanted a segmentor "
            "alone (distill it first)"
        )
    return saved
