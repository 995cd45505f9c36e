"""Lines and points, drawn on a picture: for a few numbers that are to be looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw

from adapt.data.classes import Colour
from adapt.pictures.legend import INK, PAPER, font, legend

COLOURS: tuple[Colour, ...] = (
    (0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233),
    (120, 120, 120), (150, 80, 20),
)  # fmt: skip
"""of Okabe and Ito, told apart by all eyes; then two more"""
SIDE, MARGIN = 420, 46
FAINT = (190, 190, 190)


def coloured(names: Sequence[str]) -> dict[str, Colour]:
    """A colour for each name, in turns."""
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}


def lines(
    title: str,
    curves: Mapping[str, Sequence[float]],
    colours: Mapping[str, Colour],
    guide: Sequence[float] = (),
) -> Image.Image:
    """Values over 1, 2, ..., a line a name; `guide` is a faint one that they are held against."""
    picture, draw = _panel(title)
    top = max(max(values) for values in (*curves.values(), *([guide] if guide else [])))
    count = max(len(values) for values in curves.values())
    for values, colour, width in (
        *([(guide, FAINT, 1)] if guide else []),
        *((values, colours[name], 2) for name, values in curves.items()),
    ):
        points = [
            (MARGIN + k / max(count - 1, 1) * (SIDE - 2 * MARGIN),
             SIDE - MARGIN - v / (top or 1) * (SIDE - 2 * MARGIN))
            for k, v in enumerate(values)
        ]  # fmt: skip
        draw.line(points, fill=colour, width=width)
    draw.text((MARGIN - 4, SIDE - MARGIN + 6), "1", INK, font())
    draw.text((SIDE - MARGIN - 20, SIDE - MARGIN + 6), str(count), INK, font())
    draw.text((4, MARGIN - 6), f"{top:.3g}", INK, font())
    return picture


def points(
    title: str, at: Float[np.ndarray, "n 2"], colours: Sequence[Colour], hollow: Sequence[bool]
) -> Image.Image:
    """A point for each row of `at`, scaled into the panel; hollow ones are rings."""
    picture, draw = _panel(title)
    low, high = at.min(0), at.max(0)
    scaled = (at - low) / np.maximum(high - low, 1e-9) * (SIDE - 2 * MARGIN) + MARGIN
    for (x, y), colour, ring in zip(scaled.tolist(), colours, hollow, strict=True):
        box = (x - 3, y - 3, x + 3, y + 3)
        draw.ellipse(box, outline=colour, fill=None if ring else colour)
    return picture


def side_by_side(rows: Sequence[Sequence[Image.Image]], names: Mapping[str, Colour]) -> Image.Image:
    """Rows of panels, and below them what the colours mean."""
    width = max(sum(p.width for p in row) for row in rows)
    key = legend(names, width)
    height = sum(max(p.height for p in row) for row in rows) + key.height + 8
    whole = Image.new("RGB", (max(width, key.width), height), PAPER)
    y = 0
    for row in rows:
        x = 0
        for panel in row:
            whole.paste(panel, (x, y))
            x += panel.width
        y += max(p.height for p in row)
    whole.paste(key, (0, y + 4))
    return whole


def _panel(title: str) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    picture = Image.new("RGB", (SIDE, SIDE), PAPER)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((MARGIN, MARGIN, SIDE - MARGIN, SIDE - MARGIN), outline=FAINT)
    draw.text((MARGIN, 14), title, INK, font())
    return picture, draw
