"""Toytown's canvas: flat shapes in metres, seen through a camera, filled with numbered paints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from adapt.data.toytown.materials import NUMBERS

HEIGHT, WIDTH = 128, 256
# Shapes are drawn twice as large: the image is averaged down, the label takes every second pixel.
SUPER = 2
# OpenCV takes corners in 1/8 pixel.
SHIFT = 3
FIXED = 1 << SHIFT

Spot = tuple[float, float]
Metres = float | tuple[float, ...] | NDArray[np.float64]


class View(NamedTuple):
    """A pinhole camera looking along the street: metres (right, up, ahead) to large pixels."""

    focal: float
    column: float
    horizon: float
    height: float
    side: float

    def spot(self, x: float, y: float, z: float) -> Spot:
        s = self.focal / z
        return self.column + (x - self.side) * s, self.horizon + (self.height - y) * s


class Paint(NamedTuple):
    """One pot: its material, how far away, how much light, and with which pot it shares colour."""

    kind: int
    z: float
    light: float
    like: int


class Canvas:
    """A map of paint numbers; colours and labels are looked up from them when all is drawn."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.pots: list[Paint] = []
        self.ids: NDArray[np.uint16] = np.zeros((HEIGHT * SUPER, WIDTH * SUPER), np.uint16)

    def paint(self, kind: str, z: float, light: float = 1.0, like: int | None = None) -> int:
        number = len(self.pots)
        self.pots.append(Paint(NUMBERS[kind], z, light, number if like is None else like))
        return number

    def shape(self, corners: Sequence[Spot], paint: int) -> None:
        """Fill a convex polygon given in large pixels."""
        points = (np.array(corners) * FIXED).astype(np.int32)
        cv2.fillConvexPoly(self.ids, points, paint, cv2.LINE_8, SHIFT)

    def fill(self, x: Metres, y: Metres, z: Metres, paint: int) -> None:
        """Fill separate quadrilaterals: their corners in metres, broadcast to [..., 4]."""
        view, s = self.view, (self.view.focal * FIXED) / np.asarray(z)
        u = view.column * FIXED + (np.asarray(x) - view.side) * s
        v = view.horizon * FIXED + (view.height - np.asarray(y)) * s
        points = np.empty((*np.broadcast(u, v).shape, 2), np.int32)
        points[..., 0], points[..., 1] = u, v
        cv2.fillPoly(self.ids, list(points.reshape(-1, 4, 2)), paint, cv2.LINE_8, SHIFT)

    def flat(self, x: Spot, z: Spot, paint: int, y: float = 0.0) -> None:
        """Fill a level rectangle, `y` metres above the road."""
        (x0, x1), (z0, z1), spot = x, z, self.view.spot
        self.shape([spot(x0, y, z0), spot(x0, y, z1), spot(x1, y, z1), spot(x1, y, z0)], paint)

    def stripes(self, x: Sequence[Spot], z: Sequence[Spot], paint: int) -> None:
        """Fill rectangles on the road: one for each pair of `x` and `z`, of which one is single."""
        self.fill(np.array(x)[:, [0, 0, 1, 1]], 0.0, np.array(z)[:, [0, 1, 1, 0]], paint)


class Board:
    """A flat cut-out standing upright at one place: its parts are given in metres from its foot."""

    def __init__(self, canvas: Canvas, x: float, z: float) -> None:
        self.canvas, self.x, self.z = canvas, x, z
        self.u, self.v = canvas.view.spot(x, 0.0, z)
        self.scale = canvas.view.focal / z

    def paint(self, kind: str, light: float = 1.0, like: int | None = None) -> int:
        return self.canvas.paint(kind, self.z, light, like)

    def part(self, corners: Sequence[Spot], paint: int) -> None:
        u, v, s = self.u, self.v, self.scale
        self.canvas.shape([(u + x * s, v - y * s) for x, y in corners], paint)

    def box(self, x: Spot, y: Spot, paint: int) -> None:
        u, v, s = self.u, self.v, self.scale
        left, right = round(u + x[0] * s), round(u + x[1] * s)
        top, bottom = round(v - y[1] * s), round(v - y[0] * s)
        # At least one label pixel wide, or far poles would be in the image and not in the label.
        right, bottom = max(right, left + SUPER), max(bottom, top + SUPER)
        self.canvas.ids[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = paint

    def disc(self, x: float, y: float, radius: float, paint: int) -> None:
        s = self.scale
        centre = round(self.u + x * s), round(self.v - y * s)
        cv2.circle(self.canvas.ids, centre, round(radius * s), paint, -1)
