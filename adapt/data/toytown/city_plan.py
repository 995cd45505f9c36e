"""How Toytown's two cities are laid out, and one street of either."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Span = tuple[float, float]


class Town(NamedTuple):
    """A city's layout: lengths in metres, ranges uniform, rates are probabilities."""

    camera: Span  # height above the road
    lens: Span  # focal length in pixels
    horizon: Span  # row, of 128
    drift: float  # furthest the camera is from its place in the lane
    road: Span  # half its width
    walk: Span
    verge: Span  # grass between the pavement and the lots
    storeys: Span
    garden: float  # rate of lots without a house
    crossing: float
    cars: float  # rate per 8 m and side, as trees and posts
    people: float  # rate per 6 m and side
    trees: float
    posts: float


TOWNS = {
    "game": Town(
        camera=(1.5, 1.5),
        lens=(185.0, 185.0),
        horizon=(58.0, 58.0),
        drift=0.3,
        road=(4.2, 5.0),
        walk=(2.2, 3.0),
        verge=(0.5, 2.5),
        storeys=(2.0, 7.0),
        garden=0.3,
        crossing=0.4,
        cars=0.35,
        people=0.5,
        trees=0.3,
        posts=0.6,
    ),
    "camera": Town(
        camera=(1.2, 2.1),
        lens=(165.0, 205.0),
        horizon=(48.0, 68.0),
        drift=1.0,
        road=(3.6, 5.8),
        walk=(1.6, 4.0),
        verge=(0.5, 4.0),
        storeys=(1.0, 6.0),
        garden=0.35,
        crossing=0.3,
        cars=0.45,
        people=0.55,
        trees=0.45,
        posts=0.6,
    ),
}


class Street(NamedTuple):
    """Half widths to the edge of the road, of the pavement and of the verge; a side road's z."""

    road: float
    walk: float
    lots: float
    crossing: float | None


def between(rng: np.random.Generator, span: Span) -> float:
    return float(rng.uniform(*span))


def lay(town: Town, rng: np.random.Generator) -> Street:
    """Draw one street of the town."""
    road = between(rng, town.road)
    walk = road + between(rng, town.walk)
    lots = walk + between(rng, town.verge)
    crossing = between(rng, (14.0, 45.0)) if rng.random() < town.crossing else None
    return Street(road, walk, lots, crossing)
