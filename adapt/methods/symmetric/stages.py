"""The list of stages, see the package's docstring."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from adapt import saved_state
from adapt.data.cities import Cities, open_cities
from adapt.data.datasets import Images, LabelledImages
from adapt.data.drawing.draws import make_draws
from adapt.data.pseudo_labelled import PseudoLabelled
from adapt.device import make_fabric
from adapt.evaluation.evaluate import Views
from adapt.methods.symmetric import pictures, star_translation, symmetric
from adapt.methods.symmetric.config import Config
from adapt.methods.symmetric.consistency import opinion
from adapt.networks import Part, build
from adapt.networks.segmentor import Segmentor
from adapt.networks.segmentors.fused import Fused
from adapt.networks.star_generator import StarGenerator, Towards
from adapt.networks.weights import init_segmentor
from adapt.run import DATA_FIELDS, Run, parse_size, uncoloured
from adapt.stages.claim import describe, fingerprints
from adapt.stages.pseudo_labels import Labelling, label_files, pseudo_labels
from adapt.stages.result import publish
from adapt.stages.runner import Making, Stage, Stages, Training, decided_by
from adapt.stages.signals import signals
from adapt.stages.translated_images import Drawing, enlarged, translated_images, translated_labelled
from roadshift import UserError

DRAWN = "translate/source_as_target"
BOTH = ("A", "B")


def train_symmetric(
    config: Config, run: Run, *, stage: str = "", shared: Path | None = None
) -> bool:
    """Run the stages that are missing, or the one called `stage`; whether this is process 0.

    Raises UserError for settings or data that do not fit, an unknown stage, or one whose
    predecessors are not done; Failure when training breaks or is stopped.
    """
    if run.select_on or run.keep_best_by:
        flag = "--select-on" if run.select_on else "--keep-best-by"
        raise UserError(f"symmetric keeps no best checkpoint: leave out {flag}")
    return SymmetricAdaptation(config, run, shared).stages.run(stage)


class SymmetricAdaptation:
    """One run of the method: what its stages are trained on, and what they begin from."""

    def __init__(self, config: Config, run: Run, shared: Path | None = None) -> None:
        self.config, self.run = config, run
        self.cities: Cities = open_cities(run)
        self.source_size = parse_size(run.source_size, "source-size")
        self.size = parse_size(run.size, "size")
        told = decided_by(run, config)
        info = describe("symmetric", told, run, self.cities.source, fingerprints(*self.cities))
        self.stages = Stages(info, run, make_fabric(run), self._list(), shared)

    def _list(self) -> list[Stage]:
        found: list[Stage] = [self._translate(), self._drawn()] if self.config.translate else []
        for r in range(self.config.rounds):
            found += [self._pseudo_labels(r)] if r else []
            found.append(self._adapt(r))
        return found

    def _translate(self) -> Training:
        """F, in the cities' own colours."""
        config, (source, target) = self.config.part(star_translation.Config), self.cities
        run = replace(
            uncoloured(self.run),
            steps=config.translate_steps,
            batch=config.translate_batch,
            crop=config.translate_crop or self.run.crop,
        )
        sides = (source.images, self.source_size), (target, self.size)
        return Training(
            name="translate",
            run=run,
            settings=decided_by(self.run, config, DATA_FIELDS),
            shared=True,
            make=lambda: star_translation.StarTranslation(config),
            draws=lambda: make_draws(run, source, target),
            picture=lambda method: pictures.translation(method.F, *sides),
        )

    def _drawn(self) -> Making:
        """S': the source's images in the target's colours."""
        drawing = Drawing(
            translator=self._towards_target,
            images=self.cities.source,
            size=enlarged(self.source_size, self.run.scale),
        )
        return translated_images(DRAWN, drawing, needs=("translate",), shared=True)

    def _pseudo_labels(self, r: int) -> Making:
        """What the last round's A and B are sure of and agree on."""
        (source, target), before = self.cities, f"adapt{r - 1}"
        views = Views(self.config.label_scales, self.config.label_flip)
        labelling = Labelling(
            segmentor=lambda: self._both(before),
            images=lambda: target,
            size=self.size,
            annotate=partial(opinion, self.config.consistency, views),
            classes=source.classes,
            palette=source.palette,
            max_threshold=self.config.max_threshold,
        )
        seen = self.config.label_scales, self.config.label_flip
        made_of = {"consistency": self.config.consistency, "views": str(seen)}
        return pseudo_labels(f"pseudo_labels{r}", labelling, needs=(before,), made_of=made_of)

    def _adapt(self, r: int) -> Training:
        """A and B, from the previous round where there is one; then the result."""
        config, (source, target) = self.config, self.cities
        run = replace(self.run, seed=self.run.seed + 1000 * r)  # other draws in every round
        own = config.part(symmetric.Config)
        before = (f"adapt{r - 1}", f"pseudo_labels{r}") if r else ()
        agreement = (target, self.size, config.consistency, source.palette)
        return Training(
            name=f"adapt{r}",
            run=run,
            settings=decided_by(self.run, own),
            needs=(*(("translate", DRAWN) if config.translate else ()), *before),
            shared=True,
            make=lambda: symmetric.Symmetric(own, run, len(source.classes)),
            draws=lambda: make_draws(run, self._source(), self._target(r)),
            begin=partial(self._begin, r),
            picture=lambda method: pictures.agreement(Fused([method.A, method.B]), *agreement),
            signals=lambda method: signals([method.A, method.B], target, self.size),
            publish=partial(self._publish, r),
        )

    def _source(self) -> LabelledImages:
        """What A and B learn from: S', or the source as it is."""
        source = self.cities.source
        if not self.config.translate:
            return source
        return translated_labelled(source, self.stages.folder(DRAWN))

    def _target(self, r: int) -> Images | PseudoLabelled:
        target = self.cities.target
        if not r:
            return target
        folder = self.stages.folder(f"pseudo_labels{r}")
        return PseudoLabelled(target, label_files(folder, len(target)))

    def _towards_target(self) -> nn.Module:
        """F of the finished stage, in the one direction; on the run's device."""
        F = StarGenerator(2, self.config.width, self.config.blocks)
        saved_state.load(self.stages.finished("translate"), {"F": F})
        return Towards(F, star_translation.TARGET).to(self.stages.fabric.device).eval()

    def _both(self, stage: str) -> Fused:
        """A and B of a finished round, on the run's device."""
        found = {
            f"segmentor_{x}": build(self.run.network, len(self.cities.source.classes)) for x in BOTH
        }
        saved_state.load(self.stages.finished(stage), found)
        return Fused(list(found.values())).to(self.stages.fabric.device).eval()

    def _begin(self, r: int, method: symmetric.Symmetric) -> None:
        if r:
            networks: dict[str, Any] = {
                k: v for k, v in method.state.items() if isinstance(v, nn.Module)
            }
            saved_state.load(self.stages.finished(f"adapt{r - 1}"), networks)
            return
        for segmentor in (method.A, method.B):
            init_segmentor(segmentor, self.run.weights)

    def _publish(self, r: int) -> None:
        """The run's result so far: A and B, or the one that is to be deployed."""
        part: Part = self.stages.info.parts["segmentor"]
        each: dict[str, Segmentor] = dict(zip(BOTH, self._both(f"adapt{r}").each, strict=True))
        if self.config.deploy == "fusion":
            parts = {f"segmentor_{x}": (part, network) for x, network in each.items()}
        else:
            parts = {"segmentor": (part, each[self.config.deploy])}
        publish(self.stages.info, self.run, parts, self.run.steps * (r + 1))
