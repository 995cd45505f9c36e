"""The real frames on which a graph is compared with its network, read one at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from adapt.data.datasets import labelled, unlabelled
from roadshift import UserError

Pixels = NDArray[np.uint8]
Size = tuple[int, int]
NO_MAP: Mapping[str, str] = MappingProxyType({})


class Frame(NamedTuple):
    """RGB [h,w,3] and, where the frame has one, its label [h,w] (index of the class, or 255)."""

    image: Pixels
    label: Pixels | None

    @property
    def size(self) -> Size:
        """(height, width)."""
        return self.image.shape[0], self.image.shape[1]

    def resized(self, size: Size) -> Frame:
        """The same view with another (height, width)."""
        if size == self.size:
            return self
        image = cv2.resize(self.image, size[::-1], interpolation=cv2.INTER_LINEAR)
        nearest = cv2.INTER_NEAREST
        label = self.label
        label = None if label is None else cv2.resize(label, size[::-1], interpolation=nearest)
        return Frame(image.astype(np.uint8), None if label is None else label.astype(np.uint8))


@dataclass(frozen=True)
class Frames:
    """`count` frames that `read` fetches by number; `spec` is what the user called them."""

    spec: str
    count: int
    read: Callable[[int], Frame]
    labelled: bool

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UserError(f"{self.spec} has no frames, and the graph must be checked on some")

    def spread(self, count: int) -> Frames:
        """At most `count` of them, evenly spread over all."""
        if count >= self.count:
            return self
        chosen = np.linspace(0, self.count - 1, count).round().astype(int).tolist()
        return Frames(self.spec, count, lambda i: self.read(chosen[i]), self.labelled)

    def resized(self, size: Size) -> Frames:
        """The same frames with another (height, width)."""
        return replace(self, read=lambda i: self.read(i).resized(size))

    def without(self, count: int) -> Frames:
        """Those that `spread(count)` does not give, or all where it gives all."""
        if count >= self.count:
            return self
        chosen = set(np.linspace(0, self.count - 1, count).round().astype(int).tolist())
        rest = [i for i in range(self.count) if i not in chosen]
        return replace(self, count=len(rest), read=lambda i: self.read(rest[i]))


def frames_without_labels(spec: str) -> Frames:
    """The images of a data spec; their labels are not looked for."""
    images = unlabelled(spec)
    return Frames(spec, len(images), lambda i: Frame(np.asarray(images.image(i)), None), False)


def calibration_frames(
    spec: str, classes: tuple[str, ...], class_map: Mapping[str, str] = NO_MAP
) -> Frames:
    """The images of a data spec, to calibrate on; no label is read.

    Raises UserError when there is none, or when what is known of the spec's classes says that none
    of `classes` is among them: ranges of another world fit no network.
    """
    known = unlabelled(spec).mapped(class_map).classes
    if known is not None and not set(known) & set(classes):
        raise UserError(
            f"{spec} is of other classes ({', '.join(known[:4])}, ...) than the network's "
            f"({', '.join(classes[:4])}, ...): calibrate on frames of the target"
        )
    return frames_without_labels(spec)


def frames_with_labels(
    spec: str, classes: tuple[str, ...], class_map: Mapping[str, str] = NO_MAP
) -> Frames:
    """The images of a data spec with labels of `classes`, matched by name after the class map."""
    data = labelled(spec).mapped(class_map).with_classes(classes)

    def read(i: int) -> Frame:
        return Frame(np.asarray(data.image(i)), np.asarray(data.label(i)))

    return Frames(spec, len(data), read, True)
