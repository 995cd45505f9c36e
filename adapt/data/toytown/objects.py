"""What stands and drives in Toytown's streets, each drawn part by part, in metres."""

from __future__ import annotations

import numpy as np

from adapt.data.toytown.canvas import Board, Canvas

WIDE = 0.9  # half a car's width
OCTAGON = [
    (1.0, 0.0),
    (0.7, 0.7),
    (0.0, 1.0),
    (-0.7, 0.7),
    (-1.0, 0.0),
    (-0.7, -0.7),
    (0.0, -1.0),
    (0.7, -0.7),
]


def tree(board: Board, tall: float, rng: np.random.Generator) -> None:
    trunk, leaf = board.paint("trunk"), board.paint("leaf", 0.8)
    lit = board.paint("leaf", 1.05, leaf)
    board.box((-0.14, 0.14), (0.0, tall * 0.5), trunk)
    wide = tall * float(rng.uniform(0.24, 0.36))
    blobs = (rng.uniform(-1, 1, (5, 3)) * (wide * 0.6, tall * 0.16, wide * 0.15)).tolist()
    for x, y, more in blobs:
        board.disc(x, tall * 0.66 + y, wide * 0.7 + more, leaf)
    for x, y, more in blobs:
        board.disc(x, tall * 0.66 + y + wide * 0.22, (wide * 0.7 + more) * 0.72, lit)


def bush(board: Board, wide: float) -> None:
    leaf = board.paint("leaf", 0.75)
    lit = board.paint("leaf", 1.0, leaf)
    for x in (-0.6, 0.1, 0.7):
        board.disc(x * wide, wide * 0.35, wide * 0.55, leaf)
        board.disc(x * wide * 0.9, wide * 0.5, wide * 0.36, lit)


def lamp(board: Board, tall: float, arm: float) -> None:
    pole = board.paint("pole")
    board.box((-0.2, 0.2), (0.0, tall), pole)
    board.box((min(arm, 0.0), max(arm, 0.0)), (tall - 0.3, tall), pole)
    board.box((arm - 0.4, arm + 0.4), (tall - 0.45, tall), board.paint("pole", 1.25, pole))


def signal(board: Board, tall: float, lit: int) -> None:
    board.box((-0.16, 0.16), (0.0, tall), board.paint("pole"))
    board.box((-0.42, 0.42), (tall - 0.3, tall + 1.6), board.paint("signal"))
    for i, kind in enumerate(("green", "amber", "red")):
        light = 1.0 if i == lit else 0.3
        board.disc(0.0, tall + 0.1 + 0.55 * i, 0.24, board.paint(kind, light))


def sign(board: Board, tall: float, form: int) -> None:
    board.box((-0.15, 0.15), (0.0, tall), board.paint("pole"))
    r = 0.66
    if form == 0:
        board.disc(0.0, tall, r, board.paint("sign red"))
        board.disc(0.0, tall, r * 0.66, board.paint("sign white"))
    elif form == 1:
        board.part([(-r, tall - r), (r, tall - r), (0.0, tall + r)], board.paint("sign red"))
        inner = [(-r * 0.5, tall - r * 0.7), (r * 0.5, tall - r * 0.7), (0.0, tall + r * 0.4)]
        board.part(inner, board.paint("sign white"))
    else:
        board.box((-r, r), (tall - r, tall + r), board.paint("sign blue"))
        board.box((-r * 0.5, r * 0.5), (tall - 0.1, tall + 0.1), board.paint("sign white"))


def person(board: Board, rng: np.random.Generator) -> None:
    tall, stride = float(rng.uniform(1.6, 2.0)), float(rng.uniform(0.08, 0.3))
    skin, coat, legs = board.paint("skin"), board.paint("coat"), board.paint("trousers")
    sleeve, hair = board.paint("coat", 0.8, coat), board.paint("hair")
    hip, neck, wide = tall * 0.48, tall * 0.82, tall * 0.18
    for foot in (-stride, stride):
        board.part([(-0.15, hip), (0.15, hip), (foot + 0.13, 0.0), (foot - 0.13, 0.0)], legs)
    board.part(
        [(-wide, neck), (wide, neck), (wide * 0.8, hip - 0.06), (-wide * 0.8, hip - 0.06)], coat
    )
    for x in (-wide, wide):
        board.part([(x - 0.09, neck), (x + 0.09, neck), (x * 1.5, hip), (x * 1.2, hip)], sleeve)
    board.disc(0.0, tall * 0.91, 0.2, hair)
    board.disc(0.0, tall * 0.89, 0.16, skin)


def car(canvas: Canvas, x: float, z: float, rng: np.random.Generator) -> None:
    """A box with a cabin, seen from behind and from the side nearer the camera."""
    long, sill, tall = float(rng.uniform(3.6, 4.6)), 0.95, float(rng.uniform(1.4, 1.7))
    body = canvas.paint("car", z)
    dark, deck = canvas.paint("car", z, 0.75, body), canvas.paint("car", z, 1.12, body)
    glass, tyre = canvas.paint("glass", z), canvas.paint("tyre", z)
    canvas.flat((x - 1.05, x + 1.05), (z - 0.3, z + long), canvas.paint("shadow", z))
    low, high = (z + 0.1 * long, z + 0.78 * long), (z + 0.2 * long, z + 0.6 * long)
    out = _nearer(x, canvas.view.side)
    if out:
        _flank(canvas, x + out * WIDE, (z, z + long), (sill, dark, tyre))
    canvas.flat((x - WIDE, x + WIDE), (z, z + long), deck, sill)
    spot = canvas.view.spot
    if out:
        base, top = x + out * 0.85, x + out * 0.7
        for inset, paint in ((0.0, dark), (0.14, glass)):
            (z0, z1), edge, rim = low, inset * long, tall - inset
            feet = [spot(base, sill, z0 + edge), spot(base, sill, z1 - edge)]
            head = [spot(top, rim, high[1] - inset), spot(top, rim, high[0] + inset)]
            canvas.shape([*feet, *head], paint)
    canvas.flat((x - 0.7, x + 0.7), high, deck, tall)
    for share, paint in ((1.0, body), (0.84, glass)):
        wide, narrow, rim = 0.85 * share, 0.7 * share, tall - (1 - share)
        feet = [spot(x - wide, sill, low[0]), spot(x + wide, sill, low[0])]
        head = [spot(x + narrow, rim, high[0]), spot(x - narrow, rim, high[0])]
        canvas.shape([*feet, *head], paint)
    _rear(Board(canvas, x, z), sill, body, tyre)


def _nearer(x: float, camera: float) -> int:
    """Which flank the camera sees: 1 for the right one, -1 for the left, 0 from straight behind."""
    return int(camera > x + WIDE) - int(camera < x - WIDE)


def _flank(canvas: Canvas, x: float, z: tuple[float, float], look: tuple[float, int, int]) -> None:
    (z0, z1), (sill, body, tyre), spot = z, look, canvas.view.spot
    for share in (0.2, 0.8):
        at = z0 + (z1 - z0) * share
        canvas.shape([spot(x, 0.33 + 0.33 * up, at + 0.33 * ahead) for up, ahead in OCTAGON], tyre)
    canvas.shape([spot(x, 0.3, z0), spot(x, 0.3, z1), spot(x, sill, z1), spot(x, sill, z0)], body)


def _rear(board: Board, sill: float, body: int, tyre: int) -> None:
    for left in (-0.85, 0.6):
        board.box((left, left + 0.25), (0.0, 0.4), tyre)
    board.box((-WIDE, WIDE), (0.25, sill), body)
    tail = board.paint("tail")
    board.box((-WIDE, -0.6), (0.62, 0.82), tail)
    board.box((0.6, WIDE), (0.62, 0.82), tail)
    board.box((-0.26, 0.26), (0.45, 0.6), board.paint("plate"))
