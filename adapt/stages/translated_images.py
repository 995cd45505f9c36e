"""A whole set of images as a translator draws them, kept on disk beside its training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from rich.progress import track
from torch import nn

from adapt.data.datasets import Images, LabelledImages
from adapt.data.drawing.augment import nearest_whole
from adapt.data.reading.sources import ImageFiles, LabelFiles
from adapt.pictures.overlay import png
from adapt.stages.made import names, write_missing
from adapt.stages.progress_pictures import to_batch, to_image
from adapt.stages.runner import Making

Size = tuple[int, int] | None


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Who draws which images, at which (height, width); with the labels of labelled ones."""

    translator: Callable[[], nn.Module]
    """RGB in [0, 1] to RGB in [0, 1], on the run's device; built when it is needed"""
    images: Images | LabelledImages
    size: Size


def enlarged(size: Size, scale: tuple[float, float]) -> Size:
    """The size at which source images are drawn: the largest that draws enlarge them to, so that
    what is enlarged shows detail, as the real images of the other city do."""
    return size and (round(size[0] * scale[1]), round(size[1] * scale[1]))


def translated_images(name: str, drawing: Drawing, needs: tuple[str, ...], shared: bool) -> Making:
    """The stage that leaves NAME/images, and NAME/labels of labelled ones: a PNG each."""
    make = partial(_make, drawing)
    return Making(name=name, needs=needs, settings={}, shared=shared, make=make)


def translated(images: Images, folder: Path) -> Images:
    """The images that the stage drew of these."""
    files = names(len(images))
    return replace(images, spec=str(folder), names=files, source=ImageFiles(folder / "images"))


def translated_labelled(data: LabelledImages, folder: Path) -> LabelledImages:
    """The images and labels that the stage drew of these."""
    files = names(len(data))
    return replace(
        data,
        images=translated(data.images, folder),
        ids=dict(enumerate(data.classes)),
        labels=LabelFiles(folder / "labels", dict(zip(files, files, strict=True))),
    )


def _make(drawing: Drawing, folder: Path) -> Mapping[str, object]:
    F, data = drawing.translator(), drawing.images  # noqa: N806 - the papers' letter
    files = names(len(data))
    with torch.inference_mode():
        for i in track(range(len(data)), f"{folder.name}: drawing"):
            if isinstance(data, LabelledImages) and not (folder / "labels" / files[i]).is_file():
                label = nearest_whole(data.label(i), drawing.size)
                write_missing(folder / "labels" / files[i], png(label))
            if not (folder / "images" / files[i]).is_file():
                image = to_image(F(to_batch(data.image(i), F, drawing.size)))
                write_missing(folder / "images" / files[i], png(image))
    return {}
