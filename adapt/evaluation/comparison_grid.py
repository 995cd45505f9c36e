"""The picture of a comparison: a row a frame, a column a run, the truth last, the classes below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from adapt.data.classes import Colour
from adapt.pictures.legend import INK, LINE, PAPER, font, legend
from adapt.pictures.overlay import overlay

WIDTH, NARROWEST, WIDEST = 1920, 200, 480
GAP, FAINT = 6, (110, 110, 110)


class NamedImage(NamedTuple):
    """An image and its name."""

    name: str
    image: UInt8[np.ndarray, "h w 3"]


class Column(NamedTuple):
    """One label map a frame, with the colours of its own classes."""

    title: str
    labels: Sequence[UInt8[np.ndarray, "h w"]]
    palette: Sequence[Colour]


def grid(
    frames: Sequence[NamedImage], columns: Sequence[Column], colours: Mapping[str, Colour]
) -> UInt8[np.ndarray, "h w 3"]:
    """The frames, and beside each its label maps laid over it, as one RGB picture."""
    titles = ["input", *(column.title for column in columns)]
    widest = min(WIDEST, max(frame.image.shape[1] for frame in frames))
    cell = max(NARROWEST, min(widest, WIDTH // len(titles)))
    parts = [_titles(titles, cell)]
    for row, frame in enumerate(frames):
        height = max(1, round(cell * frame.image.shape[0] / frame.image.shape[1]))
        image = _resized(frame.image, (cell, height), cv2.INTER_AREA)
        cells = [image]
        for column in columns:
            label = _resized(column.labels[row], (cell, height), cv2.INTER_NEAREST)
            cells.append(overlay(image, label, column.palette))
        strip = Image.new("RGB", (parts[0].width, height + LINE), PAPER)
        for k, one in enumerate(cells):
            strip.paste(Image.fromarray(one), (k * (cell + GAP), 0))
        _write(strip, (0, height + 2), frame.name, FAINT)
        parts.append(strip)
    below = Image.new("RGB", (parts[0].width, GAP), PAPER)
    parts += [below, _wide(legend(colours, below.width), below.width)]
    return np.concatenate([np.asarray(part) for part in parts])


def _titles(titles: Sequence[str], cell: int) -> Image.Image:
    picture = Image.new("RGB", (len(titles) * (cell + GAP) - GAP, LINE + 2), PAPER)
    for k, title in enumerate(titles):
        _write(picture, (k * (cell + GAP), 2), _fitting(title, cell), INK)
    return picture


def _wide(picture: Image.Image, width: int) -> Image.Image:
    """Cut or filled on the right."""
    whole = Image.new("RGB", (width, picture.height), PAPER)
    whole.paste(picture, (0, 0))
    return whole


def _fitting(title: str, width: int) -> str:
    """The title, or its end where it is too long: paths and scores differ at the end."""
    if font().getlength(title) <= width:
        return title
    while title and font().getlength("…" + title) > width:
        title = title[1:]
    return "…" + title


def _resized(
    image: UInt8[np.ndarray, "h w *c"], size: tuple[int, int], how: int
) -> UInt8[np.ndarray, "h2 w2 *c"]:
    return cv2.resize(image, size, interpolation=how).astype(np.uint8, copy=False)


def _write(picture: Image.Image, at: tuple[int, int], text: str, colour: Colour) -> None:
    ImageDraw.Draw(picture).text(at, text, colour, font())
