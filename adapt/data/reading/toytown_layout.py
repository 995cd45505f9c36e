"""toytown as a kind of data set: its images and labels are drawn on the spot."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt, UInt8

from adapt.data import toytown
from adapt.data.reading.classes_file import ClassTable, fixed_table
from adapt.data.reading.layout import FoundImages, FoundLabels
from adapt.data.reading.spec import Spec, split_of
from roadshift import unknown

SPLITS = {"train": (0, 2000), "val": (5000, 200)}
"""The first scene of each split, and how many there are."""


class ToytownLayout:
    """A spec's path is the city, e.g. toytown:game; every image has a label."""

    example = "game"

    def find_images(self, spec: Spec) -> FoundImages:
        """Names are like game_000017; UserError for an unknown city or split."""
        city = str(spec.path)
        if city not in toytown.CITIES:
            raise unknown("toytown city", city, toytown.CITIES)
        first, count = SPLITS[split_of(spec, list(SPLITS))]
        # No scene is drawn in both cities: unpaired, as between real ones.
        first += 10_000 * toytown.CITIES.index(city)
        names = tuple(f"{city}_{seed:06d}" for seed in range(first, first + count))
        return FoundImages(city, names, Toytown(city))

    def find_labels(self, spec: Spec, names: tuple[str, ...]) -> FoundLabels:
        """All of them have one."""
        city = str(spec.path)
        return FoundLabels(city, names, ToytownLabels(city), names[0])

    def class_table(self, spec: Spec) -> ClassTable:
        """Ids are those of toytown's classes; UserError for a bad @CLASSES."""
        return fixed_table(dict(enumerate(toytown.CLASSES)), toytown.CLASSES, spec)


class Toytown(NamedTuple):
    """The drawn images of a city."""

    city: str

    def where(self, name: str) -> str:
        return f"toytown's {name}"

    def amount(self, name: str) -> int:  # noqa: ARG002 - the protocol's
        return toytown.HEIGHT * toytown.WIDTH * 3

    def size(self, name: str) -> tuple[int, int]:  # noqa: ARG002 - the protocol's
        return toytown.HEIGHT, toytown.WIDTH

    def image(
        self,
        name: str,
        least: tuple[int, int] | None = None,  # noqa: ARG002 - the protocol's
    ) -> UInt8[np.ndarray, "h w 3"]:
        return _drawn(self.city, _seed(name))[0].copy()


class ToytownLabels(NamedTuple):
    """The labels of the drawn images of a city."""

    city: str

    def where(self, name: str) -> str:
        return f"toytown's {name}"

    def amount(self, name: str) -> int:  # noqa: ARG002 - the protocol's
        return toytown.HEIGHT * toytown.WIDTH

    def raw(self, name: str) -> UInt[np.ndarray, "h w"]:
        return _drawn(self.city, _seed(name))[1].copy()


def _seed(name: str) -> int:
    return int(name.rpartition("_")[2])


# An image and its label are asked for one after the other, by as many threads as scan; drawn once.
@lru_cache(maxsize=32)
def _drawn(city: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    return toytown.draw(city, seed)
