"""Label maps as polygons: the edges between classes, for maps and annotation tools."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def polygons(
    labels: NDArray[np.uint8], classes: Sequence[str], tolerance: float
) -> list[dict[str, Any]]:
    """GeoJSON features (RFC 7946) of class ids [h,w]: one polygon a connected region, with holes.

    Coordinates are pixels, x to the right and y downwards from the image's upper left corner, on
    the edges between pixels. Corners nearer than `tolerance` (pixels; 0: all are kept) to the line
    without them are left out. The ignored class (255) has no polygons.
    """
    return [
        {
            "type": "Feature",
            "properties": {"class": int(i), "name": classes[i]},
            "geometry": {"type": "Polygon", "coordinates": rings},
        }
        for i in np.unique(labels)
        if i < len(classes)
        for rings in _regions(labels == i, tolerance)
    ]


def _regions(mask: NDArray[np.bool_], tolerance: float) -> Iterator[list[list[list[int]]]]:
    """The rings of each region: its outline, then its holes."""
    # OpenCV's outlines run through the middles of pixels. Of pixels drawn twice as large, those
    # lie a quarter beside the edges, on a known side.
    twice = cv2.resize(mask.view(np.uint8), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    found, tree = cv2.findContours(twice, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    for at in range(len(found)):
        if tree[0, at, 3] >= 0:  # a hole; it is told with what is around it
            continue
        outline = _ring(found[at], tolerance, 1)
        if outline is None:
            continue
        rings, hole = [outline], tree[0, at, 2]
        while hole >= 0:
            if (ring := _ring(found[hole], tolerance, -1)) is not None:
                rings.append(ring)
            hole = tree[0, hole, 0]
        yield rings


def _ring(contour: NDArray[Any], tolerance: float, turn: int) -> list[list[int]] | None:
    """A closed ring in the sense of `turn` (1: the area is positive), or None for no area."""
    edges = (contour + 1) // 2
    kept = cv2.approxPolyDP(edges, tolerance, closed=True)[:, 0]
    area = cv2.contourArea(kept, oriented=True)
    if len(kept) < 3 or area == 0:
        return None
    points = kept[:: 1 if area * turn > 0 else -1].tolist()
    return [*points, points[0]]
