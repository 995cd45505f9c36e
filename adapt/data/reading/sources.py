"""Where single images and labels come from, by name; those that are files."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt, UInt8

from adapt.data.reading.decode import decode_image, decode_label, image_size


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
    """Label files in one folder: the file of each image; `last_channel` as decode_label has it."""

    folder: Path
    files: dict[str, str]
    last_channel: bool = False

    def where(self, name: str) -> str:
        return str(self.folder / self.files[name])

    def amount(self, name: str) -> int:
        return _bytes(self.folder / self.files[name])

    def raw(self, name: str) -> UInt[np.ndarray, "h w"]:
        return decode_label(self.folder / self.files[name], last_channel=self.last_channel)


def _bytes(path: Path) -> int:
    # A dangling link is listed, and reading it is the error that names it.
    return path.stat().st_size if path.exists() else -1
