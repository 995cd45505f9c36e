"""The stage translate: F and F_inv are trained, then the set that is to be translated is drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from adapt import saved_state
from adapt.data.batches import make_draws
from adapt.data.datasets import Images, LabelledImages
from adapt.methods.ldr import pictures
from adapt.methods.ldr.translation import Translation
from adapt.networks.image_generator import Translator
from adapt.stages.runner import Road
from adapt.stages.translated_images import (
    is_made,
    mark_made,
    translated,
    translated_labelled,
    write_labels,
    write_translated,
)
from roadshift import UserError

FOLDERS = {"target_to_source": "target_as_source", "source_to_target": "source_as_target"}


def translate(road: Road) -> None:
    """Train both directions; draw the set of the one that the run is for."""
    config, (source, target) = road.config, road.cities
    run = replace(
        road.run,
        batch=config.translate_batch,
        crop=config.translate_crop or road.run.crop,
        colour_jitter=0.0,
        blur=0.0,
    )
    draws = make_draws(run, source, target)
    road.fit(
        "translate",
        run,
        make=lambda: Translation(config, draws.augment_t.crop),
        draws=lambda: draws,
        begin=lambda _: None,
        picture=lambda method: pictures.translation(
            method.F, method.F_inv, (target, road.size), (source.images, road.source_size)
        ),
    )
    if road.first:
        _draw_set(road)
    road.fabric.barrier()


def translator(road: Road, name: str) -> Translator:
    """F, or F_inv, of the finished stage: on the run's device."""
    network = Translator(road.config.width, road.config.blocks)
    saved_state.load(road.finished("translate"), {name: network})
    return network.to(road.fabric.device).eval()


def training_cities(road: Road) -> tuple[LabelledImages, Images]:
    """What G is trained on: one of both sides is the translated one; UserError where not done."""
    (source, target), folder = road.cities, _folder(road)
    made_by = saved_state.fingerprint(road.finished("translate"))
    if not is_made(folder, made_by):
        raise UserError(f"{folder} is not whole: run the stage translate, with --stage translate")
    if road.config.direction == "target_to_source":
        return source, translated(target, folder / "images")
    return translated_labelled(source, folder / "images", folder / "labels"), target


def _draw_set(road: Road) -> None:
    folder, made_by = _folder(road), saved_state.fingerprint(road.finished("translate"))
    if is_made(folder, made_by):
        return
    source, target = road.cities
    if road.config.direction == "target_to_source":
        write_translated(translator(road, "F"), target, road.size, folder / "images")
    else:
        drawn = translator(road, "F_inv")
        write_translated(drawn, source.images, road.source_size, folder / "images")
        write_labels(source, road.source_size, folder / "labels")
    mark_made(folder, made_by)


def _folder(road: Road) -> Path:
    return road.folder("translate") / FOLDERS[road.config.direction]
