"""Toytown's street: the ground, the two rows of lots, and what is put between them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from adapt.data.toytown import objects
from adapt.data.toytown.canvas import SUPER, WIDTH, Board, Canvas
from adapt.data.toytown.city_plan import Street, Town, between

NEAR, FAR = 1.0, 90.0
STOREY = 3.0

# How far ahead, what, how far to the right.
Placed = list[tuple[float, str, float]]


class Lot(NamedTuple):
    """A piece of one row: from `near` to `far` metres ahead, its front at `x` metres right."""

    near: float
    far: float
    x: float

    @property
    def along(self) -> tuple[float, float, float, float]:
        return self.near, self.far, self.far, self.near

    @property
    def out(self) -> float:
        """1 on the right, -1 on the left."""
        return 1.0 if self.x > 0 else -1.0


def ground(canvas: Canvas, street: Street, rng: np.random.Generator) -> None:
    horizon = round(canvas.view.horizon)
    canvas.ids[horizon:] = canvas.paint("grass", 25.0)
    _skyline(canvas, horizon, rng)
    walk, kerb, road = (canvas.paint(kind, 12.0) for kind in ("walk", "kerb", "road"))
    canvas.flat((-street.walk, street.walk), (NEAR, FAR), walk)
    canvas.flat((-street.road - 0.3, street.road + 0.3), (NEAR, FAR), kerb)
    if street.crossing is not None:
        canvas.flat((-60.0, 60.0), (street.crossing - 6.0, street.crossing + 6.0), walk)
        canvas.flat((-60.0, 60.0), (street.crossing - 4.0, street.crossing + 4.0), road)
    canvas.flat((-street.road, street.road), (NEAR, FAR), road)
    _markings(canvas, street, rng)


def _skyline(canvas: Canvas, horizon: int, rng: np.random.Generator) -> None:
    """Far woods and houses at the end of the street, in 32 columns."""
    edges = np.linspace(0, WIDTH * SUPER, 33).astype(int).tolist()
    woods, houses = canvas.paint("leaf", FAR * 1.3, 0.9), canvas.paint("wall", FAR * 1.2)
    hills = np.cumsum(rng.normal(0, 2, 32))
    hills = np.clip(hills - hills.min() + 2, 2, 16).astype(int).tolist()
    towers = (rng.integers(4, 30, 32) * (rng.random(32) < 0.45)).tolist()
    for i in range(32):
        canvas.ids[horizon - hills[i] : horizon + 1, edges[i] : edges[i + 1]] = woods
        if towers[i]:
            canvas.ids[horizon - towers[i] : horizon + 1, edges[i] : edges[i + 1]] = houses


def _markings(canvas: Canvas, street: Street, rng: np.random.Generator) -> None:
    lane, edge = canvas.paint("lane", 12.0), street.road - 0.45
    first = NEAR + between(rng, (0.0, 6.0))
    canvas.stripes([(-0.1, 0.1)], [(first + 6 * i, first + 6 * i + 2.6) for i in range(14)], lane)
    canvas.stripes([(side - 0.08, side + 0.08) for side in (-edge, edge)], [(NEAR, FAR)], lane)
    if street.crossing is not None:
        bars = np.arange(-street.road + 0.6, street.road - 0.9, 1.1).tolist()
        before = (street.crossing - 8.5, street.crossing - 5.5)
        canvas.stripes([(x, x + 0.55) for x in bars], [before], lane)


def lots(canvas: Canvas, town: Town, street: Street, rng: np.random.Generator) -> None:
    """Both rows of lots, the furthest first."""
    rows: list[Lot] = []
    for side in (-1, 1):
        z = NEAR + between(rng, (-8.0, 2.0))
        while z < FAR:
            end = z + between(rng, (7.0, 15.0))
            rows.append(Lot(max(z, NEAR), min(end, FAR), side * street.lots))
            z = end + (between(rng, (1.0, 4.0)) if rng.random() < 0.35 else 0.0)
    for lot in sorted(rows, reverse=True):
        at = street.crossing
        if lot.far < NEAR + 1 or (at is not None and lot.near < at + 6 and lot.far > at - 6):
            continue
        if rng.random() < town.garden:
            garden(canvas, lot, rng)
        else:
            house(canvas, lot, int(between(rng, town.storeys)), rng)


def house(canvas: Canvas, lot: Lot, storeys: int, rng: np.random.Generator) -> None:
    tall, back = storeys * STOREY + 0.8, lot.x + lot.out * 12
    wall = canvas.paint("wall", lot.near, 0.92)
    gable = canvas.paint("wall", lot.near, 0.72, wall)
    if rng.random() < 0.5:
        ridge, top = (lot.x + back) / 2, tall + 3
        spot = canvas.view.spot
        canvas.shape(
            [spot(lot.x, tall, lot.near), spot(back, tall, lot.near), spot(ridge, top, lot.near)],
            gable,
        )
        roof = canvas.paint("roof", lot.near)
        canvas.fill((lot.x, lot.x, ridge, ridge), (tall, tall, top, top), lot.along, roof)
    canvas.fill((lot.x, back, back, lot.x), (0.0, 0.0, tall, tall), lot.near, gable)
    canvas.fill(lot.x, (0.0, 0.0, tall, tall), lot.along, wall)
    if lot.near > 55:
        return
    if rng.random() < 0.5:
        shop = canvas.paint("shop", lot.near)
        canvas.fill(lot.x, (0.0, 0.0, 2.9, 2.9), lot.along, shop)
    _windows(canvas, lot, storeys, canvas.paint("window", lot.near))


def _windows(canvas: Canvas, lot: Lot, storeys: int, pane: int) -> None:
    up = STOREY * np.arange(float(storeys))[:, None, None] + np.array([1.0, 1.0, 2.5, 2.5])
    count = max(int((lot.far - lot.near) / 2.6), 1)
    step = (lot.far - lot.near) / count
    ahead = np.arange(float(count))[:, None] + np.array([0.25, 0.75, 0.75, 0.25])
    canvas.fill(lot.x, up, lot.near + step * ahead, pane)
    across = 3.0 * np.arange(4.0)[:, None] + np.array([0.9, 2.1, 2.1, 0.9])
    canvas.fill(lot.x + lot.out * across, up, lot.near, pane)


def garden(canvas: Canvas, lot: Lot, rng: np.random.Generator) -> None:
    """Trees on grass, behind a fence."""
    for z in sorted(rng.uniform(lot.near, lot.far, int(rng.integers(1, 4))).tolist(), reverse=True):
        board = Board(canvas, lot.x + lot.out * between(rng, (2.5, 7.0)), max(z, 3.0))
        objects.tree(board, between(rng, (4.0, 8.0)), rng)
    tall, count = between(rng, (1.3, 2.0)), max(int((lot.far - lot.near) / 0.5), 1)
    canvas.fill(lot.x, (0.0, 0.0, tall, tall), lot.along, canvas.paint("fence", lot.near))
    slats = lot.near + np.arange(float(count))[:, None] * ((lot.far - lot.near) / count)
    slat = canvas.paint("slat", lot.near)
    canvas.fill(lot.x, (0.15, 0.15, tall, tall), slats + np.array([0.0, 0.3, 0.3, 0.0]), slat)


def furnish(canvas: Canvas, town: Town, street: Street, rng: np.random.Generator) -> None:
    """Everything that stands or moves in the street, the furthest first."""
    placed = [
        (z, name, x)
        for side in (-1, 1)
        for z, name, x in (*_standing(town, street, side, rng), *_people(town, street, side, rng))
    ]
    draw = {
        "car": lambda x, z: objects.car(canvas, x, z, rng),
        "tree": lambda x, z: objects.tree(Board(canvas, x, z), between(rng, (4.0, 7.5)), rng),
        "post": lambda x, z: _post(Board(canvas, x, z), rng),
        "bush": lambda x, z: objects.bush(Board(canvas, x, z), 1.1),
        "person": lambda x, z: objects.person(Board(canvas, x, z), rng),
    }
    for z, name, x in sorted(placed, reverse=True):
        draw[name](x, z)


def _standing(town: Town, street: Street, side: int, rng: np.random.Generator) -> Placed:
    """Cars, trees, posts and bushes of one side."""
    placed: Placed = []
    for z in range(5, 70, 8):
        u, shift = rng.random(5).tolist(), rng.uniform(z, z + 7, 4).tolist()
        if u[0] < town.cars:
            # A third of the cars drive; the others are parked at the kerb.
            lane = 0.5 if u[4] < 0.35 else 1.0
            placed.append((shift[0], "car", side * (street.road - 1.25) * lane))
        if u[1] < town.trees:
            placed.append((shift[1], "tree", side * (street.walk + 0.4)))
        # Far posts would be specks: the camera does not resolve them.
        if u[2] < town.posts and z < 40:
            placed.append((shift[2], "post", side * (street.road + 0.55)))
        if u[3] < 0.12:
            placed.append((shift[3], "bush", side * (street.walk + 0.5)))
    return placed


def _people(town: Town, street: Street, side: int, rng: np.random.Generator) -> Placed:
    placed: Placed = []
    for z in range(5, 30, 6):
        present, jay, u, shift = rng.random(4).tolist()
        if present < town.people:
            # One in seven crosses the road.
            jaywalks = jay < 0.15
            x = u * street.road if jaywalks else street.road + u * (street.walk - street.road)
            placed.append((z + 5 * shift, "person", side * x))
    return placed


def _post(board: Board, rng: np.random.Generator) -> None:
    kind = int(rng.integers(0, 4))
    if kind == 0:
        objects.lamp(board, between(rng, (5.0, 6.5)), -1.3 if board.x > 0 else 1.3)
    elif kind == 1:
        objects.signal(board, between(rng, (2.4, 3.2)), int(rng.integers(0, 3)))
    else:
        objects.sign(board, between(rng, (2.2, 2.9)), int(rng.integers(0, 3)))
