"""The classes and their colours, as part of a picture."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image, ImageDraw, ImageFont

from adapt.data.classes import Colour

LINE = 20
PAPER, INK = (255, 255, 255), (20, 20, 20)


def legend(colours: Mapping[str, Colour], width: int) -> Image.Image:
    """Names beside squares of their colours, in as many columns as `width` pixels hold."""
    column = max(int(font().getlength(name)) for name in colours) + 2 * LINE
    across = max(1, width // column)
    lines = -(-len(colours) // across)
    picture = Image.new("RGB", (max(width, column), lines * LINE), PAPER)
    draw = ImageDraw.Draw(picture)
    for k, (name, colour) in enumerate(colours.items()):
        x, y = k % across * column, k // across * LINE
        draw.rectangle((x + 2, y + 3, x + LINE, y + LINE - 3), fill=colour)
        draw.text((x + LINE + 5, y + 3), name, INK, font())
    return picture


def font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Of one size everywhere."""
    return ImageFont.load_default(13)
