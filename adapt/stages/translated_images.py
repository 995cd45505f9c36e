"""A whole set of images as a translator draws them, kept on disk beside its training."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import torch
from rich.progress import track

from adapt.data.datasets import Images, LabelledImages
from adapt.data.reading.layouts import Pairs
from adapt.data.reading.sources import ImageFiles, LabelFiles
from adapt.networks.image_generator import Translator
from adapt.pictures.overlay import png
from adapt.stages.progress_pictures import resized, to_batch, to_image
from roadshift import replacing

Size = tuple[int, int] | None


def is_made(folder: Path, made_by: str) -> bool:
    """Whether everything in `folder` was made, and by the checkpoint of that fingerprint."""
    done = folder / "made.json"
    return done.is_file() and json.loads(done.read_text())["made_by"] == made_by


def mark_made(folder: Path, made_by: str, **facts: object) -> None:
    """The last file to be written."""
    with replacing(folder / "made.json") as temporary:
        temporary.write_text(json.dumps({"made_by": made_by, **facts}, indent=1))


def names(count: int) -> tuple[str, ...]:
    """The files of so many images, in the order of the images."""
    return tuple(f"{i:06d}.png" for i in range(count))


def write_translated(translator: Translator, images: Images, size: Size, folder: Path) -> None:
    """Every image at `size` (height, width), or as it comes, drawn by translator: a PNG each."""
    folder.mkdir(parents=True, exist_ok=True)
    files = names(len(images))
    with torch.inference_mode():
        for i in track(range(len(images)), f"{folder.name}: drawing"):
            image = to_image(translator(to_batch(images.image(i), translator, size)))
            (folder / files[i]).write_bytes(png(image))


def write_labels(data: LabelledImages, size: Size, folder: Path) -> None:
    """The labels for `write_translated`'s images: class indices at the same size, a PNG each."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names(len(data))):
        label = resized(data.label(i), size, cv2.INTER_NEAREST)
        (folder / name).write_bytes(png(label))


def translated(images: Images, folder: Path) -> Images:
    """The images that `write_translated` wrote."""
    files = names(len(images))
    return replace(images, spec=str(folder), names=files, source=ImageFiles(folder))


def translated_labelled(data: LabelledImages, folder: Path, labels: Path) -> LabelledImages:
    """The images and labels that `write_translated` and `write_labels` wrote."""
    files = names(len(data))
    return replace(
        data,
        images=translated(data.images, folder),
        ids=dict(enumerate(data.classes)),
        labels=LabelFiles(
            Pairs(
                labels, dict(zip(files, files, strict=True)), last_channel=False, example=files[0]
            )
        ),
    )
