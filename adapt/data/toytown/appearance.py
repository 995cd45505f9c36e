"""What Toytown's two cities look like: colours, weather and the camera."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from adapt.data.toytown.canvas import HEIGHT, WIDTH, Paint
from adapt.data.toytown.materials import KIND_GRAIN, KINDS, NUMBERS, rgb

Floats = NDArray[np.float32]


@cache
def _palette(city: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Every kind's colours, [kinds, most, 3], and how many of them count."""
    rows = [rgb(kind.game if city == "game" else kind.camera) for kind in KINDS.values()]
    most = max(map(len, rows))
    return (
        np.array([row + row[:1] * (most - len(row)) for row in rows], np.float32),
        np.array([len(row) for row in rows]),
    )


@cache
def _noise() -> tuple[Floats, Floats]:
    """Two fields [512, 1024] of mean 0, deviation 1: fine grain with blotches, and soft."""
    rng = np.random.default_rng(1)

    def octave(step: int) -> Floats:
        small = rng.standard_normal((512 // step, 1024 // step), dtype=np.float32)
        large = cv2.resize(small, (1024, 512), interpolation=cv2.INTER_CUBIC)
        return large.astype(np.float32, copy=False)

    rough = octave(1) * 0.6 + octave(2) + octave(4) * 0.9 + octave(16) * 0.7
    soft = octave(16) * 0.3 + octave(32) * 0.6 + octave(64) + octave(128)
    return (rough - rough.mean()) / rough.std(), (soft - soft.mean()) / soft.std()


def _crop(field: Floats, rng: np.random.Generator) -> Floats:
    top, left = rng.integers(0, (512 - HEIGHT, 1024 - WIDTH)).tolist()
    return field[top : top + HEIGHT, left : left + WIDTH]


class Weather(NamedTuple):
    """Numbers one picture is finished with; deviations are in grey levels of 255."""

    varied: float  # deviation of a thing's colour around the palette
    fog: float  # share of the scene lost per metre
    grain: float  # texture
    dapple: float  # soft light and shade on everything but the sky
    cloud: float
    gain: tuple[float, float, float]
    gamma: float
    lift: float  # stray light: the blackest grey
    blur: float  # standard deviation in pixels
    vignette: float
    noise: float


CLEAR = Weather(
    varied=6.0,
    fog=0.001,
    grain=2.0,
    dapple=0.0,
    cloud=16.0,
    gain=(1.0, 1.0, 1.0),
    gamma=1.0,
    lift=0.0,
    blur=0.0,
    vignette=0.0,
    noise=0.0,
)


def weather_of(city: str, rng: np.random.Generator) -> Weather:
    if city == "game":
        return CLEAR
    u = rng.random(11).tolist()
    warm, tint = u[0] * 0.2 - 0.1, u[1] * 0.08 - 0.04
    bright = 0.85 + 0.35 * u[2]
    return Weather(
        varied=7.0,
        fog=0.001 + 0.012 * u[3] ** 2,
        grain=3 + 6 * u[4],
        dapple=0.03 + 0.09 * u[5],
        cloud=22 * u[6],
        gain=(bright * (1 + warm), bright * (1 + tint), bright * (1 - warm)),
        gamma=0.85 + 0.35 * u[7],
        lift=25 * u[8] ** 2,
        blur=0.3 + 0.35 * u[9],
        vignette=0.1 + 0.25 * u[10],
        noise=float(rng.uniform(2, 5)),
    )


def look_up(ids: NDArray[np.uint16], table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Paint numbers [h, w] to rows of four bytes, [h, w, 4]."""
    return table.view(np.uint32)[:, 0][ids].view(np.uint8).reshape(*ids.shape, 4)


def pots(
    city: str, pots: Sequence[Paint], weather: Weather, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Each pot's red, green, blue and grain, uint8 [pots, 4]."""
    kind, z, light, group = np.array(pots, np.float32).T
    kind, group = kind.astype(np.int64), group.astype(np.int64)
    colours, counts = _palette(city)
    pick = (rng.random(len(pots)) * counts[kind]).astype(np.int64)[group]
    varied = rng.standard_normal((len(pots), 3), dtype=np.float32) * (0.5 * weather.varied)
    varied += rng.standard_normal((len(pots), 1), dtype=np.float32) * weather.varied
    shade = (colours[kind, pick] + varied[group]) * light[:, None]
    sky = colours[NUMBERS["sky"], 0]
    clear = np.exp(-weather.fog * z)[:, None]
    table = np.empty((len(pots), 4), np.uint8)
    table[:, :3] = np.clip(shade * clear + (sky * 0.6 + 80) * (1 - clear), 0, 255)
    table[:, 3] = np.clip(KIND_GRAIN[kind] * clear[:, 0] * 100, 0, 255)
    return table


def finish(
    ids: NDArray[np.uint16],
    table: NDArray[np.uint8],
    sky: NDArray[np.bool_],
    weather: Weather,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Colour the canvas, light it, and take the picture: uint8 [128, 256, 3]."""
    seen = cv2.resize(look_up(ids, table), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    flat = seen.astype(np.float32)
    image = np.ascontiguousarray(flat[..., :3])
    rough, soft = _noise()
    shade = flat[..., 3] * (0.01 * weather.grain) * _crop(rough, rng)
    clouds = _crop(soft, rng)
    rows = np.linspace(-30, 30, HEIGHT, dtype=np.float32)[:, None]
    shade += np.where(sky, np.maximum(clouds, 0) * weather.cloud + rows + 15, 0)
    image += shade[..., None]
    if weather.dapple:
        image *= np.where(sky, 1, 1 + weather.dapple * _crop(soft, rng))[..., None]
    if weather is CLEAR:
        return np.clip(image, 0, 255).astype(np.uint8)
    return _photograph(image, weather, rng)


@cache
def _radius() -> Floats:
    """Squared distance from the middle, 1 in the corners."""
    y, x = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    return ((x * x + y * y) / 2).astype(np.float32)[..., None]


@cache
def _sensor() -> Floats:
    """A sensor's noise, [256, 512, 3], deviation 1: pictures take windows of it."""
    rng = np.random.default_rng(2)
    return rng.standard_normal((2 * HEIGHT, 2 * WIDTH, 3), dtype=np.float32)


def _photograph(image: Floats, weather: Weather, rng: np.random.Generator) -> NDArray[np.uint8]:
    """What a lens, a sensor and a clumsy exposure make of the image."""
    light = (1 - weather.vignette * _radius()) * np.array(weather.gain, np.float32)
    lit = cv2.GaussianBlur(image, (0, 0), weather.blur) * light
    levels = np.linspace(0, 1, 256, dtype=np.float32) ** weather.gamma
    curve = (weather.lift + (255 - weather.lift) * levels).astype(np.float32)
    top, left = rng.integers(0, (HEIGHT, WIDTH)).tolist()
    noise = _sensor()[top : top + HEIGHT, left : left + WIDTH] * np.float32(weather.noise)
    picture = cv2.LUT(cv2.convertScaleAbs(lit), curve) + noise
    return np.clip(picture, 0, 255).astype(np.uint8)
