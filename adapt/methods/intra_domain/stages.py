"""The list of stages, see the package's docstring."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from adapt import saved_state
from adapt.data.cities import Cities, open_cities
from adapt.data.drawing.draws import make_draws
from adapt.data.pseudo_labelled import PseudoLabelled
from adapt.device import make_fabric
from adapt.evaluation.evaluate import Views
from adapt.methods.intra_domain import inter, pictures
from adapt.methods.intra_domain.config import Config
from adapt.methods.intra_domain.intra_domain import Config as GameConfig
from adapt.methods.intra_domain.intra_domain import IntraDomain
from adapt.methods.intra_domain.separating import Asked, Separation, separation, signals_of
from adapt.networks import build
from adapt.networks.segmentor import Segmentor
from adapt.networks.weights import init_segmentor
from adapt.run import Run, parse_size
from adapt.stages.claim import describe, fingerprints
from adapt.stages.progress_pictures import segmented
from adapt.stages.pseudo_labels import label_files
from adapt.stages.result import publish
from adapt.stages.runner import Making, Stage, Stages, Training, decided_by
from adapt.stages.signals import signals
from roadshift import UserError


def train_intra_domain(
    config: Config, run: Run, *, stage: str = "", shared: Path | None = None
) -> bool:
    """Run the stages that are missing, or the one called `stage`; whether this is process 0.

    Raises UserError for settings, data or an --inter run that do not fit, an unknown stage, or one
    whose predecessors are not done; Failure when training breaks or is stopped.
    """
    if run.select_on or run.keep_best_by:
        flag = "--select-on" if run.select_on else "--keep-best-by"
        raise UserError(f"intra_domain keeps no best checkpoint: leave out {flag}")
    return IntraDomainRun(config, run, shared).stages.run(stage)


class IntraDomainRun:
    """One run of the method: what its stages are trained on, and what they begin from."""

    def __init__(self, config: Config, run: Run, shared: Path | None = None) -> None:
        self.config, self.run = config, run
        self.cities: Cities = open_cities(run)
        self.size = parse_size(run.size, "size")
        source = self.learnt_from = self.cities.source
        self.given = inter.read_inter(config, run, source.classes) if config.inter else None
        self.made_of = fingerprints(*self.cities) | {"size": run.size}
        if config.drawn_by:
            self.learnt_from = inter.read_drawn(Path(config.drawn_by), source)
        for name in filter(
            None, (config.inter, config.drawn_by and f"{config.drawn_by}/translate")
        ):
            weights = saved_state.fingerprint(Path(name) / "last.safetensors")
            self.made_of[f"weights of {name}"] = weights
        told = decided_by(run, config)
        info = describe("intra_domain", told, run, self.cities.source, self.made_of)
        self.stages = Stages(info, run, make_fabric(run), self._list(), shared)

    def _list(self) -> list[Stage]:
        found: list[Stage] = [] if self.given else [self._inter()]
        for r in range(self.config.rounds):
            found += [self._separation(r), self._intra(r)]
        return found

    def _inter(self) -> Training:
        """G_inter: from the labelled source to the target."""
        config, source, target = self.config, self.learnt_from, self.cities.target
        run = replace(self.run, steps=config.inter_steps or self.run.steps)
        own, kind = inter.settings_of(config, run), config.inter_method
        drawn = self.made_of if config.drawn_by else {}
        cities = ["source"] if kind == "source_only" else ["source", "target"]
        return Training(
            name="inter",
            run=run,
            settings=decided_by(run, own) | {"inter_method": kind} | drawn,
            shared=True,
            make=lambda: inter.game(own, run, source.classes),
            draws=lambda: make_draws(
                run, source, target, cities=cities, strong=kind == "self_training"
            ),
            begin=lambda method: inter.begin(method, run.weights),
            picture=lambda m: segmented(m.segmentor, target, Views(size=self.size), source.palette),
            signals=self._signals,
            publish=partial(self._publish, "inter", 0) if not config.rounds else lambda: None,
        )

    def _separation(self, r: int) -> Making:
        """What the last G finds easy, and hard, of the target."""
        source, target = self.cities
        before = self._before(r)
        asked = Asked(
            segmentor=lambda: self._segmentor(before).to(self.stages.fabric.device).eval(),
            images=target,
            size=self.size,
            classes=source.classes,
            palette=source.palette,
        )
        needs = (before,) if before else ()
        made_of = {} if before else self.made_of
        return separation(f"separation{r}", self.config.part(Separation), asked, needs, made_of)

    def _intra(self, r: int) -> Training:
        """G on the target (alone, unless w_source says otherwise); then the result."""
        own, source = self.config.part(GameConfig), self.cities.source
        # The first round of a run with KLD regularisation is that of one without.
        told = replace(own, w_kld=own.w_kld if r else 0.0)
        run = replace(self.run, seed=self.run.seed + 1000 * (r + 1))  # other draws in every round
        before = self._before(r)
        return Training(
            name=f"intra{r}",
            run=run,
            settings=decided_by(run, told) | {"start": self.config.start},
            needs=(*((before,) if before else ()), f"separation{r}"),
            shared=True,
            make=lambda: IntraDomain(own, run, len(source.classes), kld=r > 0),
            draws=lambda: make_draws(
                run, self.learnt_from if own.w_source or own.mix else None, self._target(r)
            ),
            begin=partial(self._begin, r),
            picture=lambda m: pictures.adaptation(m, self._target(r), self.size, source.palette),
            signals=lambda m: self._signals(m) | signals_of(self.stages.folder(f"separation{r}")),
            publish=partial(self._publish, f"intra{r}", r + 1),
        )

    def _before(self, r: int) -> str:
        """The stage whose G labels the target for round r; "" for the run that --inter names."""
        return f"intra{r - 1}" if r else ("" if self.given else "inter")

    def _signals(self, method: Any) -> dict[str, float]:
        return signals([method.segmentor], self.cities.target, self.size)

    def _target(self, r: int) -> PseudoLabelled:
        target = self.cities.target
        folder = self.stages.folder(f"separation{r}")
        return PseudoLabelled(target, label_files(folder, len(target)))

    def _segmentor(self, stage: str) -> Segmentor:
        """G of a finished stage, or of the run that --inter names."""
        if not stage:
            assert self.given
            return self.given.segmentor
        G = build(self.run.network, len(self.cities.source.classes))
        saved_state.load(self.stages.finished(stage), {"segmentor": G})
        return G

    def _begin(self, r: int, method: IntraDomain) -> None:
        if r:
            networks = {k: v for k, v in method.state.items() if isinstance(v, nn.Module)}
            saved_state.load(self.stages.finished(f"intra{r - 1}"), networks)
        elif self.config.start == "weights":
            init_segmentor(method.G, self.run.weights)
        else:
            method.G.load_state_dict(self._segmentor(self._before(0)).state_dict())

    def _publish(self, stage: str, rounds: int) -> None:
        """The run's result after so many rounds."""
        part = self.stages.info.parts["segmentor"]
        parts = {"segmentor": (part, self._segmentor(stage))}
        publish(self.stages.info, self.run, parts, self.run.steps * rounds)
