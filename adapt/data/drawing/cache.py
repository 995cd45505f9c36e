"""What was decoded once is kept: in memory, or in files that other runs on the same data share.

Where every draw shows an image at one size, it is kept at that size; else as it was decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from adapt.data.drawing.augment import Augment, nearest_whole, resized_whole
from adapt.data.images import Images, LabelledImages
from roadshift import Failure, __version__, replacing

MEMORY = "memory"
"""the value of --cache that is no folder"""
Pixels = UInt8[np.ndarray, "*hwc"]
Read = Callable[[int], Pixels]


@dataclass(frozen=True, eq=False)
class InMemory:
    """What `read` gave, kept in this process: each loader process has its own."""

    read: Read
    kept: dict[int, Pixels] = field(default_factory=dict[int, Pixels])

    def __call__(self, i: int) -> Pixels:
        if i not in self.kept:
            self.kept[i] = self.read(i)
        return self.kept[i]


@dataclass(frozen=True, eq=False)
class OnDisk:
    """What `read` gave, kept as files that are mapped, not loaded: a crop reads its own rows."""

    read: Read
    folder: Path

    def __call__(self, i: int) -> Pixels:
        path = self.folder / f"{i}.npy"
        try:
            if not path.is_file():
                self.folder.mkdir(parents=True, exist_ok=True)
                with replacing(path) as temporary, temporary.open("wb") as file:
                    np.save(file, self.read(i), allow_pickle=False)
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise Failure(
                f"the cache {path} cannot be used ({error}); delete its folder, name another with "
                "--cache, or leave --cache out"
            ) from error


def image_reader(images: Images, augment: Augment, cache: str) -> Read:
    """Reads image i, RGB, as `augment` wants it, and keeps it as --cache says ("": not at all).

    A JPEG is decoded at the reduced scale that still holds all that the augmentation can show.
    """
    read = partial(images.image, least=augment.largest)
    size = augment.only_size if cache else None
    if size:
        read = partial(_sized, read, partial(resized_whole, size=size))
    return _kept(read, cache, images.content, augment.largest, size) if cache else read


def label_reader(source: LabelledImages, augment: Augment, cache: str) -> Read:
    """Reads label i, indices into the classes, likewise."""
    size = augment.only_size if cache else None
    read = (
        partial(_sized, source.label, partial(nearest_whole, size=size)) if size else source.label
    )
    return _kept(read, cache, source.fingerprint, size) if cache else read


def _sized(read: Read, resize: Callable[[Pixels], Pixels], i: int) -> Pixels:
    return resize(read(i))


def _kept(read: Read, cache: str, *key: object) -> Read:
    """`key` tells apart, in a folder that many runs share, what is kept there."""
    if cache == MEMORY:
        return InMemory(read)
    name = sha256(repr((__version__, *key)).encode()).hexdigest()[:16]
    return OnDisk(read, Path(cache) / name)
