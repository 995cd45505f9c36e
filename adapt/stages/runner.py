"""What all stages of one run share: its cities, its settings, where a stage lies, how it trains."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import torch
from lightning.fabric import Fabric

from adapt import saved_state
from adapt.checkpoint import RunInfo
from adapt.data.batches import Draws
from adapt.data.cities import Cities, open_cities
from adapt.device import make_fabric
from adapt.fit import Method, fit
from adapt.methods.ldr import translation
from adapt.methods.ldr.reconstruction import Config
from adapt.monitor import Monitor
from adapt.networks.perceptual import read_perceptual
from adapt.pictures.overlay import Picture
from adapt.run import Run, parse_size
from adapt.stages.claim import claim, describe, fingerprints
from roadshift import UserError

DATA = ("source", "target", "source_size", "size", "crop", "scale", "flip", "classes", "seed")
"""The settings of a run on which the first two stages depend, beside their own."""
PRETRAINING = frozenset(
    {"width", "blocks", "alpha", "beta", "w_perceptual", "w_matching", "perceptual"}
    | {"perceptual_weights", "pretrain_steps", "pretrain_lr"}
)
M = TypeVar("M", bound=Method)


@dataclass(frozen=True)
class Road:
    """One run of the method. `shared` is a folder where runs keep the first two stages."""

    config: Config
    run: Run
    cities: Cities
    info: RunInfo
    fabric: Fabric
    shared: Path | None

    @property
    def classes(self) -> int:
        """How many."""
        return len(self.cities.source.classes)

    @property
    def source_size(self) -> tuple[int, int] | None:
        """(height, width) of source images in training; None as they come."""
        return parse_size(self.run.source_size, "source-size")

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of target images; None as they come."""
        return parse_size(self.run.size, "size")

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.fabric.global_rank == 0

    def folder(self, name: str) -> Path:
        """Where a stage lies; the shared ones by their settings, so that different ones differ."""
        if self.shared is None or name not in ("translate", "pretrain"):
            return self.run.out / name
        told = json.dumps(self.settings(name), sort_keys=True)
        return self.shared / f"{name}-{sha256(told.encode()).hexdigest()[:8]}"

    def settings(self, name: str) -> dict[str, Any]:
        """What decides a stage's result, as plain values."""
        run, config = self.run.settings(), asdict(self.config)
        if name == "translate":
            shared, own = DATA, [f.name for f in fields(translation.Config)]
        elif name == "pretrain":
            shared, own = (*DATA, "batch"), sorted(PRETRAINING)
        else:
            return run | {k: v for k, v in config.items() if k != "rounds"}
        return {k: run[k] for k in shared} | {k: config[k] for k in own}

    def finished(self, name: str) -> Path:
        """The checkpoint of a stage that is done; UserError for one that is not."""
        path = self.folder(name) / "last.safetensors"
        if not path.is_file() or saved_state.step_of(path.parent) < self._steps(name):
            raise UserError(
                f"the stage {name} is not done in {path.parent}: run it first, "
                f"with --stage {name}, or leave --stage out to run all"
            )
        return path

    def _steps(self, name: str) -> int:
        own = {"translate": self.config.translate_steps, "pretrain": self.config.pretrain_steps}
        return own.get(name, self.run.steps)

    def fit(
        self,
        name: str,
        run: Run,
        make: Callable[[], M],
        draws: Callable[[], Draws],
        begin: Callable[[M], None],
        picture: Callable[[M], Picture],
    ) -> bool:
        """Train the method that `make` builds as the stage `name`; False where that was done.

        `begin` fills its networks from earlier stages, the first time.
        """
        run = replace(run, out=self.folder(name), steps=self._steps(name))
        info = replace(self.info, method=f"ldr {name}", steps=run.steps, seed=run.seed,
                       settings=json.loads(json.dumps(self.settings(name))))  # fmt: skip
        if self.first:
            claim(run.out, info)
        self.fabric.barrier()
        if saved_state.step_of(run.out) >= run.steps:
            return False
        torch.manual_seed(run.seed)
        method = make()
        if saved_state.step_of(run.out) == 0:
            begin(method)
        monitor = Monitor(run, lambda: picture(method)) if self.first else None
        fit(method, draws(), run, self.fabric, monitor)
        return True


def open_road(config: Config, run: Run, shared: Path | None) -> Road:
    """Raises UserError for data or settings that do not fit."""
    if run.select_on:
        raise UserError("ldr keeps no best checkpoint: leave out --select-on")
    if config.reconstruct:
        read_perceptual(config.perceptual, config.perceptual_weights)  # told before any training
    cities = open_cities(run)
    info = describe("ldr", config, run, cities.source, fingerprints(*cities))
    return Road(config, run, cities, info, make_fabric(run), shared)
