"""One picture of a data set: a few images, each beside its label, and the legend of the colours."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from adapt.data.images import Images, LabelledImages
from adapt.pictures.legend import INK, LINE, PAPER, font, legend
from adapt.pictures.overlay import overlay

HEIGHT, GAP, ACROSS = 200, 6, 1620


def contact_sheet(data: Images | LabelledImages, count: int) -> UInt8[np.ndarray, "h w 3"]:
    """`count` images of a set, evenly spaced over it, as one RGB picture.

    Raises UserError, naming the file, when one of them cannot be read.
    """
    chosen = np.linspace(0, len(data) - 1, min(count, len(data))).astype(int).tolist()
    cells = [_cell(data, i) for i in chosen]
    per_row = max(1, ACROSS // (max(cell.width for cell in cells) + GAP))
    rows = [_joined(cells[k : k + per_row], GAP, 0) for k in range(0, len(cells), per_row)]
    if isinstance(data, LabelledImages):
        width = max(row.width for row in rows)
        colours = dict(zip(data.classes, data.palette, strict=True))
        rows.append(legend(colours, width))
    return np.asarray(_joined(rows, 0, GAP))


def _cell(data: Images | LabelledImages, i: int) -> Image.Image:
    image = data.image(i)
    size = max(1, round(HEIGHT * image.shape[1] / image.shape[0])), HEIGHT
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    parts = [Image.fromarray(small)]
    if isinstance(data, LabelledImages):
        label = cv2.resize(data.label(i), size, interpolation=cv2.INTER_NEAREST)
        parts.append(Image.fromarray(overlay(small, label, data.palette)))
        name = data.images.names[i]
    else:
        name = data.names[i]
    caption = Image.new("RGB", (sum(part.width for part in parts), LINE), PAPER)
    ImageDraw.Draw(caption).text((2, 3), name, INK, font())
    return _joined([_joined(parts, 0, 0), caption], 0, 1)


def _joined(parts: Sequence[Image.Image], right: int, down: int) -> Image.Image:
    """Parts side by side with `right` pixels between, or, with `down`, one under the other."""
    width = sum(p.width + right for p in parts) if not down else max(p.width for p in parts)
    height = sum(p.height + down for p in parts) if down else max(p.height for p in parts)
    whole = Image.new("RGB", (width, height), PAPER)
    x = y = 0
    for part in parts:
        whole.paste(part, (x, y))
        x, y = (x, y + part.height + down) if down else (x + part.width + right, y)
    return whole
