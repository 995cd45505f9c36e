"""The list of stages, see the package's docstring; what deploys them is in `adapt.stages`."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from adapt import saved_state
from adapt.data.cities import Cities, open_cities
from adapt.data.datasets import Images, LabelledImages
from adapt.data.drawing.draws import crop_of, make_draws
from adapt.data.pseudo_labelled import PseudoLabelled
from adapt.device import make_fabric
from adapt.methods.ldr import joint, pictures, reconstruction, translation
from adapt.methods.ldr.config import Config
from adapt.networks import Part, build, build_part
from adapt.networks.image_generator import Translator
from adapt.networks.perceptual import read_perceptual
from adapt.networks.segmentor import Segmentor
from adapt.networks.weights import init_segmentor
from adapt.run import DATA_FIELDS, Run, parse_size, uncoloured
from adapt.stages.claim import describe, fingerprints
from adapt.stages.pseudo_labels import Labelling, label_files, pseudo_labels
from adapt.stages.result import publish
from adapt.stages.runner import Making, Stage, Stages, Training, decided_by
from adapt.stages.signals import signals
from adapt.stages.translated_images import (
    Drawing,
    enlarged,
    translated,
    translated_images,
    translated_labelled,
)
from roadshift import UserError

log = logging.getLogger(__name__)


def train_ldr(config: Config, run: Run, *, stage: str = "", shared: Path | None = None) -> bool:
    """Run the stages that are missing, or the one called `stage`; whether this is process 0.

    Raises UserError for settings or data that do not fit, an unknown stage, or one whose
    predecessors are not done; Failure when training breaks or is stopped.
    """
    if run.select_on or run.keep_best_by:
        flag = "--select-on" if run.select_on else "--keep-best-by"
        raise UserError(f"ldr keeps no best checkpoint: leave out {flag}")
    if run.style:
        raise UserError("ldr's translator F matches the cities' colours: leave out --style")
    if config.reconstruct:
        read_perceptual(config.perceptual, config.perceptual_weights)  # told before any training
        _say_if_off(config)
    return LabelDrivenReconstruction(config, run, shared).stages.run(stage)


class LabelDrivenReconstruction:
    """One run of the method: what its stages are trained on, and what they begin from."""

    def __init__(self, config: Config, run: Run, shared: Path | None = None) -> None:
        self.config, self.run = config, run
        self.cities: Cities = open_cities(run)
        self.source_size = parse_size(run.source_size, "source-size")
        self.size = parse_size(run.size, "size")
        self.to_source = config.direction == "target_to_source"
        # The step itself changes the colours that G sees; F and M learn the cities' own.
        self.uncoloured = uncoloured(run)
        self.drawn = f"translate/{'target_as_source' if self.to_source else 'source_as_target'}"
        source = self.cities.source
        told = decided_by(run, config)
        info = describe("ldr", told, run, source, fingerprints(*self.cities))
        self.stages = Stages(info, run, make_fabric(run), self._list(), shared)

    def _list(self) -> list[Stage]:
        found: list[Stage] = [self._translate(), self._translated()]
        if self.config.reconstruct:
            found.append(self._pretrain())
        for r in range(self.config.rounds):
            found += [self._pseudo_labels(r)] if r else []
            found.append(self._joint(r))
        return found

    def _translate(self) -> Training:
        """F and F_inv (section 3.2)."""
        config, (source, target) = self.config.part(translation.Config), self.cities
        run = replace(
            self.uncoloured,
            steps=config.translate_steps,
            batch=config.translate_batch,
            crop=config.translate_crop or self.run.crop,
        )
        sides = (target, self.size), (source.images, self.source_size)
        return Training(
            name="translate",
            run=run,
            settings=decided_by(self.run, config, DATA_FIELDS),
            shared=True,
            make=lambda: translation.Translation(config, crop_of(run, source, target)),
            draws=lambda: make_draws(run, source, target),
            picture=lambda method: pictures.translation(method.F, method.F_inv, *sides),
        )

    def _translated(self) -> Making:
        """The images of the side that is translated, drawn."""
        source, target = self.cities
        drawing = Drawing(
            translator=partial(self._translator, "F" if self.to_source else "F_inv"),
            images=target if self.to_source else source,
            # Target images as F draws them when deployed.
            size=self.size if self.to_source else enlarged(self.source_size, self.run.scale),
        )
        return translated_images(self.drawn, drawing, needs=("translate",), shared=True)

    def _pretrain(self) -> Training:
        """M and D_1..D_3, from the source's true labels (section 4.3)."""
        config, source = self.config.part(reconstruction.Config), self.cities.source
        run = replace(self.uncoloured, steps=config.pretrain_steps)
        return Training(
            name="pretrain",
            run=run,
            settings=decided_by(self.run, config, (*DATA_FIELDS, "batch")),
            shared=True,
            make=lambda: reconstruction.Pretraining(config, len(source.classes)),
            draws=lambda: make_draws(run, source, None),
            picture=lambda method: pictures.drawing(
                method.rebuild.M, source, self.source_size, source.palette
            ),
        )

    def _pseudo_labels(self, r: int) -> Making:
        """What the last round's G is sure of in the target's images, in their drawn form."""
        source = self.cities.source
        before = f"joint{r - 1}"

        def segmentor() -> Segmentor:
            G = build(self.run.network, len(source.classes))
            saved_state.load(self.stages.finished(before), {"segmentor": G})
            return G.to(self.stages.fabric.device).eval()

        labelling = Labelling(
            segmentor=segmentor,
            images=self._target,
            size=self.size,
            classes=source.classes,
            palette=source.palette,
            max_threshold=self.config.max_threshold,
        )
        return pseudo_labels(f"pseudo_labels{r}", labelling, needs=(before, self.drawn))

    def _joint(self, r: int) -> Training:
        """G (and M), from the previous round or from the pretrained parts; then the result."""
        config, classes = self.config, len(self.cities.source.classes)
        # Other draws in every round.
        run = replace(self.run, seed=self.run.seed + 1000 * r)
        settings = decided_by(self.run, config)
        del settings["rounds"]
        make = joint.Joint if config.reconstruct else joint.Segmentation
        palette = self.cities.source.palette
        before = (f"joint{r - 1}", f"pseudo_labels{r}") if r else ("pretrain",) * config.reconstruct

        def draws() -> Any:
            images = self._target()
            target: Images | PseudoLabelled = images
            if r:
                folder = self.stages.folder(f"pseudo_labels{r}")
                target = PseudoLabelled(images, label_files(folder, len(images)))
            drawn = replace(uncoloured(run), sample_rare=run.sample_rare)
            return make_draws(drawn, self._source(), target)

        return Training(
            name=f"joint{r}",
            run=run,
            settings=settings,
            needs=("translate", self.drawn, *before),
            make=lambda: make(config, run, classes),
            draws=draws,
            begin=partial(self._begin, r),
            picture=lambda method: pictures.reconstruction(
                method.G, getattr(method, "M", None), self._target(), palette
            ),
            signals=lambda method: signals([method.G], self._target(), self.size),
            publish=partial(self._publish, r),
        )

    def _source(self) -> LabelledImages:
        """What G learns from: drawn as target images where that is the direction."""
        source = self.cities.source
        return source if self.to_source else translated_labelled(source, self._drawn_folder())

    def _target(self) -> Images:
        """The target as G sees it: drawn as source images where that is the direction."""
        target = self.cities.target
        return translated(target, self._drawn_folder()) if self.to_source else target

    def _drawn_folder(self) -> Path:
        return self.stages.folder(self.drawn)

    def _translator(self, name: str) -> Translator:
        """F, or F_inv, of the finished stage: on the run's device."""
        network = Translator(self.config.width, self.config.blocks)
        saved_state.load(self.stages.finished("translate"), {name: network})
        return network.to(self.stages.fabric.device).eval()

    def _begin(self, r: int, method: joint.Joint | joint.Segmentation) -> None:
        networks = {k: v for k, v in method.state.items() if isinstance(v, nn.Module)}
        if r:
            saved_state.load(self.stages.finished(f"joint{r - 1}"), networks)
            return
        init_segmentor(method.G, self.run.weights)
        if isinstance(method, joint.Joint):
            drawn = {name: networks[name] for name in ("M", "D_k")}
            saved_state.load(self.stages.finished("pretrain"), drawn)

    def _publish(self, r: int) -> None:
        """The run's result so far: G, and F and M where they are part of it."""
        config, info = self.config, self.stages.info
        shape = {"width": config.width, "blocks": config.blocks}
        kinds: dict[str, tuple[str, Part]] = {
            "segmentor": ("segmentor", info.parts["segmentor"]),
        }
        if config.reconstruct and config.space == "label":
            classes = {"classes": len(info.classes)}
            kinds["reconstructor"] = ("M", {"kind": "reconstructor", **classes, **shape})
        found = {role: (part, build_part(part)) for role, (_, part) in kinds.items()}
        last = self.stages.finished(f"joint{r}")
        saved_state.load(last, {kinds[role][0]: network for role, (_, network) in found.items()})
        if self.to_source:
            found["translator"] = ({"kind": "translator", **shape}, self._translator("F"))
        publish(info, self.run, found, self.run.steps * (r + 1))


def _say_if_off(config: Config) -> None:
    if config.perceptual != "none" and config.w_perceptual and not config.perceptual_weights:
        log.warning(
            "no ImageNet weights for %s: the perceptual term of Eq. 5 is off; turn it on with "
            "--perceptual-weights FILE (--perceptual mobilenet_v2 takes that network's)",
            config.perceptual,
        )
