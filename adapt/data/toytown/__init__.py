"""Toytown: street scenes drawn procedurally, by seed, in two cities that look unlike each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adapt.data.toytown import appearance, scene
from adapt.data.toytown.canvas import HEIGHT, SUPER, WIDTH, Canvas, View
from adapt.data.toytown.city_plan import TOWNS, Town, between, lay
from adapt.data.toytown.materials import CLASSES, KIND_LABELS, SKY
from roadshift import unknown

__all__ = ["CITIES", "CLASSES", "HEIGHT", "WIDTH", "draw"]

CITIES = tuple(TOWNS)


def draw(city: str, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw scene `seed` (0 or more) of a city: the same two arrays in every process.

    Returns the image, uint8 [128, 256, 3] RGB, and the label, uint8 [128, 256]: indices into
    CLASSES. Raises UserError for a city that is not one of CITIES.
    """
    if city not in TOWNS:
        raise unknown("city", city, CITIES)
    town, rng = TOWNS[city], np.random.default_rng((CITIES.index(city), seed))
    canvas = Canvas(_camera(town, rng))
    canvas.paint("sky", 0.0)
    plan = lay(town, rng)
    scene.ground(canvas, plan, rng)
    scene.lots(canvas, town, plan, rng)
    scene.furnish(canvas, town, plan, rng)
    weather = appearance.weather_of(city, rng)
    kinds = np.array([pot.kind for pot in canvas.pots])
    label = KIND_LABELS[kinds][canvas.ids[1::SUPER, 1::SUPER]]
    table = appearance.pots(city, canvas.pots, weather, rng)
    return appearance.finish(canvas.ids, table, label == SKY, weather, rng), label


def _camera(town: Town, rng: np.random.Generator) -> View:
    return View(
        focal=SUPER * between(rng, town.lens),
        column=SUPER * (WIDTH / 2 + float(rng.normal(0, 4 * town.drift))),
        horizon=SUPER * between(rng, town.horizon),
        height=between(rng, town.camera),
        side=between(rng, (0.8 - town.drift, 0.8 + town.drift)),
    )
