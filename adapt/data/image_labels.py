"""What is known of whole images, a vector an image and never a map: the one door to such labels.

    {"kind": "presence", "classes": ["road", "car"], "images": {"a.png": [1, 0], ...}}

`shares` are the parts of an image's labelled pixels, and sum to one; `presence` says which classes
are there, 1 or 0. A CSV file is the same with the kind in its first cell:

    presence,road,car
    a.png,1,0

`roadshift data image_labels` makes such a file from label maps, for whoever wants that.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from adapt.data.classes import IGNORE, canonical
from adapt.data.images import LabelledImages
from roadshift import UserError, replacing, unknown

TOLERANCE = 1e-3
WANTED = 'wanted {"kind": "shares" or "presence", "classes": [...], "images": {NAME: [...], ...}}'
KINDS = ("shares", "presence")


class ImageLabels(NamedTuple):
    """A vector of numbers in 0..1 for every image: `shares`, or `presence`."""

    kind: str
    values: Float[Tensor, "n c"]


def read_image_labels(
    path: Path, names: Sequence[str], classes: Sequence[str], spec: str
) -> ImageLabels:
    """Of the images `names` (of the set `spec`), in their order, for these classes.

    The file may hold more images. Raises UserError for a file that cannot be read, another class
    than these or one that is missing, an image that is not there, and numbers that are no such
    labels.
    """
    raw = _read_csv(path) if path.suffix.lower() == ".csv" else _read_json(path)
    kind, theirs, images = raw["kind"], [canonical(c) for c in raw["classes"]], raw["images"]
    if twice := [name for name in theirs if theirs.count(name) > 1]:
        raise UserError(f"{path} names the class {twice[0]!r} twice: wanted each once")
    for name in theirs:
        if name not in classes:
            raise UserError(f"{path}: {unknown('class', name, classes)}")
    if missing := [name for name in classes if name not in theirs]:
        raise UserError(
            f"{path} says nothing of {', '.join(missing)}, which this run trains; add "
            "it, or give --classes"
        )
    if absent := [name for name in names if name not in images]:
        raise UserError(
            f"{path} lacks {len(absent)} of the {len(names)} images of {spec}, first {absent[0]}; "
            f"it names {len(images)}, as {next(iter(images), None)}: add them, or give a "
            "pattern that leaves them out"
        )
    order = [theirs.index(name) for name in classes]
    rows = [_checked(path, name, images[name], kind, len(theirs)) for name in names]
    return ImageLabels(kind, torch.tensor(rows)[:, order])


def write_image_labels(
    path: Path, kind: str, classes: Sequence[str], rows: Iterable[tuple[str, Sequence[float]]]
) -> None:
    """The JSON file that `read_image_labels` reads."""
    images = {name: [round(v, 6) for v in values] for name, values in rows}
    with replacing(path) as temporary:
        text = json.dumps({"kind": kind, "classes": list(classes), "images": images})
        temporary.write_text(text.replace("], ", "],\n"))


def class_shares(y: UInt8[Tensor, "*n h w"], classes: int) -> Float[Tensor, "*n c"]:
    """y_s (section 4.2): of each image's labelled pixels the share of each class.

    The document divides by all pixels; those without a class (255) are left out, so that what is
    left sums to one. Zeros where an image has no labelled pixel.
    """
    count = torch.stack([(y == c).sum((-2, -1)) for c in range(classes)], -1).float()
    return count / (y != IGNORE).sum((-2, -1), keepdim=True)[..., 0].clamp(min=1)


def true_image_labels(data: LabelledImages, kind: str) -> Iterable[tuple[str, Sequence[float]]]:
    """Name and vector of each image, out of its label map: not for training on a target."""
    for i, name in enumerate(data.images.names):
        shares = class_shares(torch.from_numpy(data.label(i)), len(data.classes))
        yield name, ((shares > 0).float() if kind == "presence" else shares).tolist()


def _checked(path: Path, name: str, values: Any, kind: str, classes: int) -> list[float]:
    numbers = isinstance(values, list) and all(isinstance(v, int | float) for v in values)
    if not numbers or len(values) != classes:
        raise UserError(f"{path}: {name} has {values!r}; wanted {classes} numbers")
    if kind == "presence" and not set(values) <= {0, 1}:
        raise UserError(f"{path}: {name} has {values!r}; presence is 0 or 1")
    if kind == "shares" and not (min(values) >= 0 and abs(sum(values) - 1) <= TOLERANCE):
        raise UserError(
            f"{path}: the shares of {name} are {min(values)} or more and sum to {sum(values):.4g}; "
            "wanted 0 or more, and a sum of 1 (presence is another kind)"
        )
    return [float(v) for v in values]


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        raw: Any = json.loads(path.read_text(encoding="utf-8"))
        words = [each for each in raw["classes"] if isinstance(each, str)]
        whole = raw["kind"] in KINDS and isinstance(raw["images"], dict) and words
        whole = whole and len(words) == len(raw["classes"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} holds no image-level labels ({error!r}); {WANTED}") from error
    if not whole:
        raise UserError(f"{path} holds no image-level labels; {WANTED}")
    return raw


def _read_csv(path: Path) -> Mapping[str, Any]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            (kind, *classes), *rows = [row for row in csv.reader(file) if row]
        images = {name: [float(v) for v in values] for name, *values in rows}
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} holds no image-level labels ({error}); wanted a line KIND,CLASS,... and a "
            f"line NAME,NUMBER,... an image, the kind one of {', '.join(KINDS)}"
        ) from error
    if kind not in KINDS:
        raise UserError(f"{path}: {unknown('kind', kind, KINDS)}")
    return {"kind": kind, "classes": classes, "images": images}
