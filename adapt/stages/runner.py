"""The stages of a run, one after the other: trained or made, resumed, skipped, shared.

A stage lies in a folder of the run by its name, "" being the run folder itself. What decides its
result (its settings, and the stages it needs) is its identity: the same command goes on with the
stage, or skips it when it is done, and another command is refused. Process 0 writes; all processes
wait for each other after every stage.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch.utils.data import Dataset

from adapt import saved_state
from adapt.checkpoint import RunInfo
from adapt.data.drawing.batches import Batch
from adapt.fit import Method, fit
from adapt.monitor import Monitor
from adapt.pictures.overlay import Picture
from adapt.run import Run
from adapt.stages.claim import claim
from adapt.stages.made import begin_making, is_made, mark_made
from adapt.stages.signals import score_by
from roadshift import UserError, unknown

Settings = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Training:
    """A stage that is learnt; it leaves NAME/last.safetensors.

    `run` has the stage's own steps, batch and seed. `begin` fills the method's networks before the
    first step; `publish` is called by process 0 once the stage is done. The rows of an ablation
    with equal settings have a `shared` stage together.
    """

    name: str
    run: Run
    settings: Settings
    needs: tuple[str, ...] = ()
    shared: bool = False
    make: Callable[[], Any]
    draws: Callable[[], Dataset[Batch]]
    begin: Callable[[Any], object] = lambda _: None
    picture: Callable[[Any], Picture]
    select: Callable[[Any], float] | None = None
    """scores the method on labelled target images, where the user asked for that"""
    signals: Callable[[Any], Mapping[str, float]] = lambda _: {}
    """what can be told of the method without a label"""
    publish: Callable[[], None] = lambda: None


@dataclass(frozen=True, kw_only=True)
class Making:
    """A stage that is computed once: images, labels; it leaves NAME/made.json, written last.

    `make` fills the folder, file by file, each one whole; called again after it was killed, it
    leaves what is there. What it returns is kept in made.json. NAME may lie in another stage's
    folder, and belongs to that stage then: translate/target_as_source.
    """

    name: str
    settings: Settings
    needs: tuple[str, ...]
    shared: bool = False
    make: Callable[[Path], Mapping[str, object]]


Stage = Training | Making


class Stages:
    """The stages of one run, in their order; `shared` is a folder that several runs have."""

    def __init__(
        self,
        info: RunInfo,
        run: Run,
        fabric: Fabric,
        stages: Sequence[Stage],
        shared: Path | None = None,
    ) -> None:
        self.info, self.out, self.fabric, self.shared = info, run.out, fabric, shared
        self.stages = {stage.name: stage for stage in stages}

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.fabric.global_rank == 0

    def run(self, only: str = "") -> bool:
        """Run what is not done, or of the stage `only`; returns whether this is process 0.

        Raises UserError for a folder that holds something else, an unknown stage, or one whose
        predecessors are not done; Failure when training breaks or is stopped.
        """
        roots = dict.fromkeys(_root(name) for name in self.stages)
        if only and only not in roots:
            raise unknown("stage", only, roots)
        claim(self.out, self.info)
        self.fabric.launch()  # with several devices, the others start here and come this way again
        for stage in self.stages.values():
            if only not in ("", _root(stage.name)):
                continue
            for need in stage.needs:
                self.finished(need)
            if isinstance(stage, Training):
                self._train(stage)
            elif self.first:
                self._make(stage)
            self.fabric.barrier()
        return self.first

    def folder(self, name: str) -> Path:
        """Where a stage lies; a shared one by its identity, so that different ones differ."""
        root = _root(name)
        if self.shared is None or not self.stages[root].shared:
            return self.out / name
        return self.shared / f"{root}-{self.identity(root)[:8]}" / name[len(root) :].strip("/")

    def identity(self, name: str) -> str:
        """Hash of all that decides a stage's result but the data, for which its run stands."""
        stage = self.stages[name]
        told = [
            name.rsplit("/", maxsplit=1)[-1],
            dict(stage.settings),
            [self.identity(n) for n in stage.needs],
        ]
        return sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def finished(self, name: str) -> Path:
        """The checkpoint, or the folder, of a stage that is done; UserError for one that is not."""
        stage, folder = self.stages[name], self.folder(name)
        found = folder / "last.safetensors" if isinstance(stage, Training) else folder
        if self._is_done(stage):
            return found
        where = f"{folder} is not whole" if "/" in name else f"it lies in {folder}"
        raise UserError(
            f"the stage {_root(name)} is not done ({where}): run it first, with "
            f"--stage {_root(name)}, or leave --stage out to run all"
        )

    def _is_done(self, stage: Stage) -> bool:
        folder = self.folder(stage.name)
        if isinstance(stage, Training):
            return saved_state.step_of(folder) >= stage.run.steps
        return is_made(folder, self._made_by(stage), self.identity(stage.name))

    def _made_by(self, stage: Making) -> str:
        """Fingerprints of the trained stages it was computed with; "" while one is missing."""
        files = [
            self.folder(need) / "last.safetensors"
            for need in stage.needs
            if isinstance(self.stages[need], Training)
        ]
        found = [saved_state.fingerprint(file) for file in files if file.is_file()]
        return " ".join(found) if len(found) == len(files) else ""

    def _train(self, stage: Training) -> None:
        run = replace(stage.run, out=self.folder(stage.name))
        if stage.name and self.first:
            claim(run.out, self._info_of(stage))
        self.fabric.barrier()
        if not self._is_done(stage):
            torch.manual_seed(run.seed)
            method: Method = stage.make()
            if saved_state.step_of(run.out) == 0:
                stage.begin(method)
            picture = partial(stage.picture, method)
            signals = partial(stage.signals, method)
            by_signal = score_by(run.keep_best_by, signals)
            select = partial(stage.select, method) if stage.select else by_signal
            monitor = Monitor(run, picture, select, signals) if self.first else None
            fit(method, stage.draws(), run, self.fabric, monitor)
        if self.first:
            stage.publish()

    def _make(self, stage: Making) -> None:
        if self._is_done(stage):
            return
        folder, made_by = self.folder(stage.name), self._made_by(stage)
        identity = self.identity(stage.name)
        begin_making(folder, made_by, identity)
        mark_made(folder, made_by, identity, stage.make(folder))

    def _info_of(self, stage: Training) -> RunInfo:
        needs = {need: self.identity(need)[:8] for need in stage.needs}
        return replace(
            self.info,
            method=f"{self.info.method} {stage.name}",
            steps=stage.run.steps,
            seed=stage.run.seed,
            settings=json.loads(json.dumps(dict(stage.settings) | {"needs": needs})),
        )


def decided_by(run: Run, config: Any, fields: Iterable[str] | None = None) -> dict[str, Any]:
    """A stage's settings: these fields of the run (None: all that decide a result), its config."""
    told = run.settings()
    chosen = told if fields is None else sorted(fields)
    return {k: told[k] for k in chosen} | asdict(config)


def _root(name: str) -> str:
    return name.partition("/")[0]
