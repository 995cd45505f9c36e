"""The list of stages, see the package's docstring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from adapt import saved_state
from adapt.data.cities import open_cities
from adapt.data.drawing.draws import make_draws
from adapt.data.image_labels import ImageLabels, read_image_labels, write_image_labels
from adapt.device import make_fabric
from adapt.evaluation.features import Sizes
from adapt.methods.pivot import pictures
from adapt.methods.pivot.config import Config
from adapt.methods.pivot.features import (
    Features,
    FeaturesConfig,
    features,
    made_of,
    read_features,
)
from adapt.methods.pivot.image_classifier import (
    ClassifierConfig,
    FeatureDraws,
    ImageClassifier,
    linear,
)
from adapt.methods.pivot.pivot import Config as GameConfig
from adapt.methods.pivot.pivot import Pivot
from adapt.networks.weights import init_segmentor
from adapt.pictures.overlay import Picture, write_png
from adapt.run import Run, parse_size
from adapt.stages.claim import describe, fingerprints
from adapt.stages.runner import Making, Stage, Stages, Training, decided_by
from adapt.stages.signals import signals
from adapt.stages.train import selecting
from roadshift import UserError

FILE = "target.json"


def train_pivot(config: Config, run: Run, *, shared: Path | None = None) -> bool:
    """Train into `run.out`; whether this is process 0.

    Raises UserError for settings, data, features or image-level labels that do not fit, Failure
    when training breaks or is stopped.
    """
    if run.keep_best_by == "agreement":
        raise UserError("--keep-best-by agreement asks a teacher, and pivot has none")
    return PivotRun(config, run, shared).stages.run()


class PivotRun:
    """One run of the method: where its image-level labels come from, and what is trained."""

    def __init__(self, config: Config, run: Run, shared: Path | None = None) -> None:
        self.config, self.run = config, run
        self.cities = open_cities(run)
        self.size = parse_size(run.size, "size")
        both = parse_size(config.features_size, "features-size")
        sizes = Sizes(both or parse_size(run.source_size, "source-size"), both or self.size)
        looked_at = made_of(config.part(FeaturesConfig), self.cities, sizes)
        data = fingerprints(*self.cities)
        self.given = self.kept = None
        if config.image_labels:
            self.given = self._read(Path(config.image_labels))
            data["image_labels"] = saved_state.fingerprint(Path(config.image_labels))
        elif config.features:
            self.kept = read_features(Path(config.features), looked_at)
        self.looked_at = looked_at
        fabric = make_fabric(run)
        own: list[Stage] = [self._training()]
        if not self.given:
            own = [self._classifier(), self._labels(), *own]
            if not self.kept:
                looking = features(config.part(FeaturesConfig), self.cities, sizes, fabric.device)
                own = [looking, *own]
        told = decided_by(run, config)
        info = describe("pivot", told, run, self.cities.source, data)
        self.stages = Stages(info, run, fabric, own, shared)

    @cached_property
    def features(self) -> Features:
        """Those of --features, or of the stage."""
        return self.kept or read_features(self.stages.finished("features"), self.looked_at)

    @cached_property
    def image_labels(self) -> ImageLabels:
        """The target's, those of --image-labels or of the stage."""
        return self.given or self._read(self.stages.finished("image_labels") / FILE)

    def _classifier(self) -> Training:
        """From features to class shares, on the source."""
        own, source = self.config.part(ClassifierConfig), self.cities.source
        run = replace(
            self.run,
            steps=own.classifier_steps,
            batch=own.classifier_batch,
            keep_every=0,
            keep_best_by="",
            select_on="",
        )

        def picture(method: ImageClassifier) -> Picture:
            found = self.features
            return pictures.predicted_shares(method.P, source, found.source, found.shares)

        return Training(
            name="classifier",
            run=run,
            settings=decided_by(run, own, ["seed"]) | self.looked_at,
            needs=() if self.kept else ("features",),
            shared=True,
            make=lambda: ImageClassifier(
                self.features.source.shape[1], len(source.classes), own.classifier_lr
            ),
            draws=lambda: FeatureDraws.of(self.features.source, self.features.shares, run.seed),
            picture=picture,
        )

    def _labels(self) -> Making:
        """What the classifier says of the target's images."""
        return Making(
            name="image_labels",
            settings={},
            needs=("classifier",),
            shared=True,
            make=self._say,
        )

    def _training(self) -> Training:
        """The segmentor."""
        run, own, (source, target) = self.run, self.config.part(GameConfig), self.cities
        presence = bool(self.given and self.given.kind == "presence")
        return Training(
            name="",
            run=run,
            settings=decided_by(run, self.config),
            needs=() if self.given else ("image_labels",),
            make=lambda: Pivot(own, run, len(source.classes), presence=presence),
            draws=lambda: make_draws(run, source, target, image_labels=self.image_labels.values),
            begin=lambda method: init_segmentor(method.G, run.weights),
            picture=lambda method: pictures.units(
                method, target, self.image_labels.values, self.size, source.palette
            ),
            signals=lambda method: signals([method.G], target, self.size),
            select=selecting(run, source.classes),
        )

    def _say(self, folder: Path) -> Mapping[str, object]:
        source, target = self.cities
        features = self.features.target
        path = self.stages.finished("classifier")
        P = classifier_of(path, features.shape[1], len(source.classes))
        with torch.inference_mode():
            values = P(features).softmax(1)
        write_image_labels(
            folder / FILE,
            "shares",
            source.classes,
            zip(target.names, values.tolist(), strict=True),
        )
        picture = pictures.image_labels(target, values, source.palette)
        write_png(folder / "pictures" / "000000.png", picture)
        shares = self.features.shares
        mean = {"source_mean": shares[shares.sum(1) > 0].mean(0), "target_mean": values.mean(0)}
        return {k: dict(zip(source.classes, v.tolist(), strict=True)) for k, v in mean.items()}

    def _read(self, path: Path) -> ImageLabels:
        source, target = self.cities
        return read_image_labels(path, target.names, source.classes, target.spec)


def classifier_of(checkpoint: Path, channels: int, classes: int) -> nn.Linear:
    """P of a finished stage; UserError where it is of other features or classes."""
    P = linear(channels, classes)
    saved_state.load(checkpoint, {"P": P})
    return P
