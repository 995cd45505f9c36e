"""The rounds: joint training, the pseudo labels between them, and the result of a round."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from rich.progress import track
from torch import Tensor

from adapt import checkpoint, saved_state
from adapt.data.batches import make_draws
from adapt.data.datasets import Images
from adapt.data.pseudo_labelled import PseudoLabelled
from adapt.evaluation.evaluate import logits_of
from adapt.methods.ldr import pictures
from adapt.methods.ldr.joint import Joint, Segmentation
from adapt.methods.ldr.translate import training_cities, translator
from adapt.networks import build
from adapt.networks.image_generator import Reconstructor
from adapt.networks.segmentor import Segmentor
from adapt.networks.weights import init_segmentor
from adapt.pictures.overlay import png, write_png
from adapt.stages.pseudo_labels import Confident, confident, pseudo_label
from adapt.stages.runner import Road
from adapt.stages.translated_images import is_made, mark_made, names
from roadshift import UserError


def joint(road: Road, r: int) -> None:
    """Train G (and M), from the previous round or from the pretrained parts; then the result."""
    source, images = training_cities(road)
    target = PseudoLabelled(images, _labels(road, r)) if r else images
    # Other draws in every round. The step itself changes the colours that G sees.
    run = replace(road.run, seed=road.run.seed + 1000 * r)
    uncoloured = replace(run, colour_jitter=0.0, blur=0.0)
    make = Joint if road.config.reconstruct else Segmentation
    road.fit(
        f"joint{r}",
        run,
        make=lambda: make(road.config, run, road.classes),
        draws=lambda: make_draws(uncoloured, source, target),
        begin=partial(_begin, road, r),
        picture=lambda method: pictures.reconstruction(
            method.G, method.M if isinstance(method, Joint) else None, images, source.palette
        ),
    )
    if road.first:
        _publish(road, r)
    road.fabric.barrier()


def pseudo_labels(road: Road, r: int) -> None:
    """What the last round's G is sure of in the target's images, in their drawn form."""
    folder, last = road.folder(f"pseudo_labels{r}"), road.finished(f"joint{r - 1}")
    made_by = saved_state.fingerprint(last)
    if road.first and not is_made(folder, made_by):
        _, images = training_cities(road)
        G = build(road.run.network, road.classes)
        saved_state.load(last, {"segmentor": G})
        G.to(road.fabric.device).eval()
        (folder / "labels").mkdir(parents=True, exist_ok=True)
        files = names(len(images))

        def write(i: int, labels: Tensor) -> None:
            (folder / "labels" / files[i]).write_bytes(png(labels[0].cpu().numpy()))

        with torch.inference_mode():
            thresholds = pseudo_label(
                partial(_segment, G, images, road), road.classes, road.config.max_threshold, write
            )
        picture = pictures.pseudo_labels(images, folder / "labels", road.cities.source.palette)
        write_png(folder / "pictures" / "000000.png", picture)
        by_class = dict(zip(road.cities.source.classes, thresholds.tolist(), strict=True))
        mark_made(folder, made_by, thresholds=by_class)
    road.fabric.barrier()


def _segment(G: Segmentor, images: Images, road: Road) -> Iterator[Confident]:
    for i in track(range(len(images)), "pseudo labels: segmenting"):
        image = torch.from_numpy(images.image(i))[None].to(road.fabric.device)
        size = (image.shape[1], image.shape[2])  # in training it is resized with its image
        yield confident(logits_of(G, image, road.size), size, G.align_corners)


def _labels(road: Road, r: int) -> list[Path]:
    """The files of the pseudo labels of round r; UserError where they are not made."""
    name = f"pseudo_labels{r}"
    folder = road.folder(name)
    if not is_made(folder, saved_state.fingerprint(road.finished(f"joint{r - 1}"))):
        raise UserError(f"the stage {name} is not done: run it first, with --stage {name}")
    return [folder / "labels" / name for name in names(len(road.cities.target))]


def _begin(road: Road, r: int, method: Joint | Segmentation) -> None:
    if r:
        networks = {k: v for k, v in method.state.items() if isinstance(v, torch.nn.Module)}
        saved_state.load(road.finished(f"joint{r - 1}"), networks)
        return
    init_segmentor(method.G, road.run.weights)
    if isinstance(method, Joint):
        drawn = {"M": method.M, "D_k": method.rebuild.D_k}
        saved_state.load(road.finished("pretrain"), drawn)


def _publish(road: Road, r: int) -> None:
    """The run's result so far: G, and F and M where they are part of it."""
    config, out = road.config, road.run.out
    G = build(road.run.network, road.classes)
    parts: dict[str, torch.nn.Module] = {"segmentor": G}
    shape = {"width": config.width, "blocks": config.blocks}
    translated = config.direction == "target_to_source"
    rebuilt = config.reconstruct and config.space == "label"
    last = road.finished(f"joint{r}")
    saved_state.load(last, {"segmentor": G})
    if translated:
        parts["translator"] = translator(road, "F")
    if rebuilt:
        parts["reconstructor"] = Reconstructor(road.classes, **shape)
        saved_state.load(last, {"M": parts["reconstructor"]})
    info = replace(
        road.info,
        translator=shape if translated else None,
        reconstructor=shape if rebuilt else None,
    )
    checkpoint.write_info(out, info)
    saved_state.save(out / "last.safetensors", parts, road.run.steps * (r + 1))
