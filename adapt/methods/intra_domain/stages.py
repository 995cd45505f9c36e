"""The list of stages, see the package's docstring."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from adapt import checkpoint, saved_state
from adapt.checkpoint import SavedRun
from adapt.data.cities import Cities, open_cities
from adapt.data.datasets import LabelledImages
from adapt.data.drawing.draws import make_draws
from adapt.data.pseudo_labelled import PseudoLabelled
from adapt.device import make_fabric
from adapt.evaluation.evaluate import Views
from adapt.methods import output_adversary, source_only
from adapt.methods.intra_domain.config import Config
from adapt.methods.intra_domain.intra_domain import Config as GameConfig
from adapt.methods.intra_domain.intra_domain import IntraDomain
from adapt.methods.intra_domain.separating import Asked, Separation, separation
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
from adapt.stages.translated_images import translated_labelled
from roadshift import UserError, hxw

DRAWN = Path("translate/source_as_target")


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
        classes = self.cities.source.classes
        self.given = _finished(config, run, classes) if config.inter else None
        self.made_of = fingerprints(*self.cities)
        for name in filter(None, (config.inter,)):
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
        config, (source, target) = self.config, self.cities
        adversary = config.inter_method == "output_adversary"
        own = output_adversary.Config(width_d=config.width_d) if adversary else source_only.Config()
        kind = output_adversary.OutputAdversary if adversary else source_only.SourceOnly
        run = replace(self.run, steps=config.inter_steps or self.run.steps)
        make: Callable[[], Any] = partial(kind, own, run, len(source.classes))  # pyright: ignore[reportArgumentType]
        drawn = {"drawn_by": config.drawn_by}
        return Training(
            name="inter",
            run=run,
            settings=decided_by(run, own) | {"inter_method": config.inter_method} | drawn,
            shared=True,
            make=make,
            draws=lambda: make_draws(
                run, self._source(), target, cities=("source", "target")[: 1 + adversary]
            ),
            begin=lambda method: init_segmentor(method.segmentor, run.weights),
            picture=self._picture,
            signals=self._signals,
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
        """G on the target alone; then the result."""
        own = self.config.part(GameConfig)
        classes = len(self.cities.source.classes)
        run = replace(self.run, seed=self.run.seed + 1000 * (r + 1))  # other draws in every round
        before = self._before(r)
        return Training(
            name=f"intra{r}",
            run=run,
            settings=decided_by(run, own) | {"start": self.config.start},
            needs=(*((before,) if before else ()), f"separation{r}"),
            make=lambda: IntraDomain(own, run, classes, kld=r > 0),
            draws=lambda: make_draws(run, None, self._target(r)),
            begin=partial(self._begin, r),
            picture=self._picture,
            signals=self._signals,
            publish=partial(self._publish, r),
        )

    def _before(self, r: int) -> str:
        """The stage whose G labels the target for round r; "" for the run that --inter names."""
        return f"intra{r - 1}" if r else ("" if self.given else "inter")

    def _picture(self, method: Any) -> Any:
        source, target = self.cities
        return segmented(method.segmentor, target, Views(size=self.size), source.palette)

    def _signals(self, method: Any) -> dict[str, float]:
        return signals([method.segmentor], self.cities.target, self.size)

    def _source(self) -> LabelledImages:
        """What inter learns from: the source, or as another run drew it."""
        source, drawn = self.cities.source, self.config.drawn_by
        if not drawn:
            return source
        folder = Path(drawn) / DRAWN
        count = len(list((folder / "images").glob("*.png")))
        if not (folder / "made.json").is_file() or count != len(source):
            raise UserError(
                f"--drawn-by {drawn}: {folder} holds {count} drawn images and the source has "
                f"{len(source)}; give a finished run of ldr --direction source_to_target, or of "
                "symmetric, on this source"
            )
        return translated_labelled(source, folder)

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

    def _publish(self, r: int) -> None:
        """The run's result so far."""
        part = self.stages.info.parts["segmentor"]
        parts = {"segmentor": (part, self._segmentor(f"intra{r}"))}
        publish(self.stages.info, self.run, parts, self.run.steps * (r + 1))


def _finished(config: Config, run: Run, classes: tuple[str, ...]) -> SavedRun:
    """The run of --inter; UserError where it is not finished, or of other classes or size."""
    path = Path(config.inter)
    saved = checkpoint.read(path)
    info, size = saved.info, parse_size(run.size, "size")
    if info.classes != classes:
        raise UserError(
            f"--inter {path} was trained for the classes {', '.join(info.classes)}, this run has "
            f"{', '.join(classes)}; give --classes, or another run"
        )
    done = saved_state.step_of(path)
    if done < info.steps:
        raise UserError(
            f"--inter {path} is at step {done} of {info.steps}: let the same command finish it"
        )
    if info.work_size != size:
        was, now = (hxw(s) if s else "the images' own" for s in (info.work_size, size))
        raise UserError(f"--inter {path} was trained at the size {was}, this run has {now}")
    whole = set(info.parts) == {"segmentor"} and info.network == run.network
    if config.start == "inter" and not whole:
        raise UserError(
            f"--inter {path} is a {info.network} of the parts {', '.join(info.parts)}, and G a "
            f"{run.network}, which cannot begin from it: give --start weights"
        )
    return saved
