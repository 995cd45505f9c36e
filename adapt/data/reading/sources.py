"""Where single images and labels come from: files, or toytown drawn on the spot."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt, UInt8

from adapt.data import toytown
from adapt.data.reading.decode import decode_image, decode_label, image_size
from adapt.data.reading.layouts import Pairs, split_of
from adapt.data.reading.spec import Spec
from roadshift import unknown


@runtime_checkable
class ImageSource(Protocol):
    """Images by name. `amount` is the size in bytes, which tells that a file has changed."""

    def where(self, name: str) -> str: ...
    def amount(self, name: str) -> int: ...
    def size(self, name: str) -> tuple[int, int]: ...
    def image(self, name: str, least: tuple[int, int] | None = None) -> UInt8[np.ndarray, "h w 3"]:
        """RGB; where that is cheaper, smaller than it is, but not under `least`."""
        ...


@runtime_checkable
class LabelSource(Protocol):
    """Raw ids by the image's name."""

    def where(self, name: str) -> str: ...
    def amount(self, name: str) -> int: ...
    def raw(self, name: str) -> UInt[np.ndarray, "h w"]: ...


class ImageFiles(NamedTuple):
    """Image files in one folder."""

    folder: Path

    def where(self, name: str) -> str:
        return str(self.folder / name)

    def amount(self, name: str) -> int:
        return _bytes(self.folder / name)

    def size(self, name: str) -> tuple[int, int]:
        return image_size(self.folder / name)

    def image(self, name: str, least: tuple[int, int] | None = None) -> UInt8[np.ndarray, "h w 3"]:
        return decode_image(self.folder / name, least)


class LabelFiles(NamedTuple):
    """Label files in one folder, by the name of their image."""

    pairs: Pairs

    def where(self, name: str) -> str:
        return str(self.pairs.folder / self.pairs.files[name])

    def amount(self, name: str) -> int:
        return _bytes(self.pairs.folder / self.pairs.files[name])

    def raw(self, name: str) -> UInt[np.ndarray, "h w"]:
        path = self.pairs.folder / self.pairs.files[name]
        return decode_label(path, last_channel=self.pairs.last_channel)


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


TOYTOWN_SPLITS = {"train": (0, 2000), "val": (5000, 200)}


def toytown_names(spec: Spec) -> tuple[str, ...]:
    """The names of a toytown spec's images, e.g. game_000017; UserError for an unknown city."""
    city = str(spec.path)
    if city not in toytown.CITIES:
        raise unknown("toytown city", city, toytown.CITIES)
    first, count = TOYTOWN_SPLITS[split_of(spec, list(TOYTOWN_SPLITS))]
    # No scene is drawn in both cities: unpaired, as between real ones.
    first += 10_000 * toytown.CITIES.index(city)
    return tuple(f"{city}_{seed:06d}" for seed in range(first, first + count))


def _seed(name: str) -> int:
    return int(name.rpartition("_")[2])


# An image and its label are asked for one after the other, by as many threads as scan; drawn once.
@lru_cache(maxsize=32)
def _drawn(city: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    return toytown.draw(city, seed)


def _bytes(path: Path) -> int:
    # A dangling link is listed, and reading it is the error that names it.
    return path.stat().st_size if path.exists() else -1
