"""Sets of images: labelled ones to learn from, and images alone, which hold no way to any label."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np
from jaxtyping import UInt8

from adapt.data.classes import IGNORE, Colour, canonical, palette_of
from adapt.data.reading.decode import Unreadable
from adapt.data.reading.sources import ImageSource, LabelSource
from roadshift import UserError, hxw

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Images:
    """Images alone. `classes` are those of the data set, None where nothing says them."""

    spec: str
    classes: tuple[str, ...] | None
    names: tuple[str, ...]
    source: ImageSource

    def __len__(self) -> int:
        return len(self.names)

    def image(self, i: int, least: tuple[int, int] | None = None) -> UInt8[np.ndarray, "h w 3"]:
        """Image i as RGB, 0..255; UserError, naming the file, when it cannot be read.

        With `least` a JPEG may come at a half, a quarter or an eighth of its size, not under this.
        """
        name = self.names[i]
        read = partial(self.source.image, name, least)
        return _read(read, self.source.where(name), self.spec)

    def mapped(self, class_map: Mapping[str, str]) -> Images:
        """The same images, their classes by the names of a class map."""
        if self.classes is None or not class_map:
            return self
        return replace(self, classes=tuple(dict.fromkeys(_mapped(self.classes, class_map))))

    @cached_property
    def content(self) -> str:
        """Hash of the images' names and sizes in bytes, wherever they lie: the key of a scan."""
        return _hash((name, self.source.amount(name)) for name in self.names)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of `content` and the classes: two runs with the same one had the same data."""
        return _hash([self.content, self.classes])


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images with a label each. Not a kind of Images, so it cannot pass for a target.

    `ids` says what the raw ids mean: more classes than `classes` where those were narrowed.
    """

    images: Images
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    ids: dict[int, str]
    labels: LabelSource

    def __len__(self) -> int:
        return len(self.images)

    def image(self, i: int) -> UInt8[np.ndarray, "h w 3"]:
        """Image i as RGB, 0..255; UserError, naming the file, when it cannot be read."""
        return self.images.image(i)

    def label(self, i: int) -> UInt8[np.ndarray, "h w"]:
        """Label i as indices into `classes`, 255 elsewhere.

        Raises UserError, naming the file, when it cannot be read or has not the image's size.
        """
        name, spec = self.images.names[i], self.images.spec
        where = self.labels.where(name)
        raw = _read(partial(self.labels.raw, name), where, spec)
        source = self.images.source
        size = _read(partial(source.size, name), source.where(name), spec)
        if raw.shape != size:
            raise UserError(
                f"{where} is {hxw(raw.shape)} while its image is {hxw(size)}; {_advice(spec)}"
            )
        return self.lookup[raw]

    def with_classes(self, names: Sequence[str]) -> LabelledImages:
        """The same files with labels of these classes, by name; the others become 255.

        Raises UserError when the labels have none of them.
        """
        wanted = tuple(map(canonical, names))
        if not set(wanted) & set(self.ids.values()):
            raise UserError(
                f"{self.images.spec} labels none of the classes {', '.join(names)}; it has "
                f"{', '.join(dict.fromkeys(self.ids.values()))}"
            )
        colours = dict(zip(self.classes, self.palette, strict=True))
        palette = tuple(colours.get(n) or palette_of([n])[0] for n in wanted)
        return replace(self, classes=wanted, palette=palette)

    def mapped(self, class_map: Mapping[str, str]) -> LabelledImages:
        """The same files, several classes as one by a class map; the first one's colour stays."""
        if not class_map:
            return self
        colours = dict(
            zip(reversed(_mapped(self.classes, class_map)), reversed(self.palette), strict=True)
        )
        names = tuple(dict.fromkeys(_mapped(self.classes, class_map)))
        return replace(
            self,
            images=self.images.mapped(class_map),
            classes=names,
            palette=tuple(colours[name] for name in names),
            ids=dict(zip(self.ids, _mapped(self.ids.values(), class_map), strict=True)),
        )

    @cached_property
    def lookup(self) -> UInt8[np.ndarray, 65536]:
        """Raw id -> index into `classes`, or 255."""
        table = np.full(2**16, IGNORE, np.uint8)
        for number, name in self.ids.items():
            if name in self.classes:
                table[number] = self.classes.index(name)
        return table

    @cached_property
    def content(self) -> str:
        """Hash of the label files' names and sizes in bytes, and of what their ids mean."""
        amounts = [(name, self.labels.amount(name)) for name in self.images.names]
        return _hash([sorted(self.ids.items()), amounts])

    @cached_property
    def fingerprint(self) -> str:
        """Hash of images, labels and classes: two runs with the same one had the same data."""
        return _hash([self.images.fingerprint, self.content, self.classes])


def _mapped(names: Iterable[str], class_map: Mapping[str, str]) -> list[str]:
    return [class_map.get(canonical(name), name) for name in names]


def _read(reader: Callable[[], T], where: str, spec: str) -> T:
    try:
        return reader()
    except Unreadable as error:
        raise UserError(f"{where} {error}; {_advice(spec)}") from error


def _advice(spec: str) -> str:
    return (
        f"repair it, or run `roadshift data scan {shlex.quote(spec)}` to find all such files: "
        "later runs leave out what it found"
    )


def _hash(values: Iterable[Any]) -> str:
    return hashlib.sha256(json.dumps(list(values)).encode()).hexdigest()
