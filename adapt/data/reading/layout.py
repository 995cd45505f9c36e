"""What a kind of data set is: something that finds images, their labels, and what ids mean."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from adapt.data.reading.classes_file import ClassTable
from adapt.data.reading.sources import ImageSource, LabelSource
from adapt.data.reading.spec import Spec


class FoundImages(NamedTuple):
    """Where a spec's images are, for people; their names, before its pattern; what reads them."""

    where: str
    names: tuple[str, ...]
    source: ImageSource


class FoundLabels(NamedTuple):
    """Where the labels are, for people; which of the images have one; what reads them.

    `example` is the label that is wanted for the first image.
    """

    where: str
    names: tuple[str, ...]
    source: LabelSource
    example: str


class Layout(Protocol):
    """One kind of data set.

    Images and labels are found by separate functions, so that whoever wants images never comes near
    the labels.
    """

    @property
    def example(self) -> str:
        """A path as a spec of this kind may have it."""
        ...

    def find_images(self, spec: Spec) -> FoundImages:
        """At least one; UserError when the path, the split or any image is missing."""
        ...

    def find_labels(self, spec: Spec, names: tuple[str, ...]) -> FoundLabels:
        """Those of these images, which may be none."""
        ...

    def class_table(self, spec: Spec) -> ClassTable | None:
        """What the ids mean; None where nothing says it. UserError for a bad @CLASSES."""
        ...
