"""Classes by name: the class sets, their colours, and which class a raw id of each data set is.

Every class goes by its Cityscapes name, whatever its data set calls it, so classes of two data sets
are the same exactly when their names are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from adapt.data.toytown import CLASSES as TOYTOWN
from roadshift import UserError, unknown

IGNORE = 255
Colour = tuple[int, int, int]

# Cityscapes' classes in the order of its trainIds, with its colours (mcordts/cityscapesScripts).
COLOURS: dict[str, Colour] = {
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
}
CITYSCAPES19 = tuple(COLOURS)

# CamVid's bicyclist is the person together with the bicycle, mostly person: a rider, as in MSeg.
ALIASES = {
    "pavement": "sidewalk",
    "footway": "sidewalk",
    "tree": "vegetation",
    "trees": "vegetation",
    "sign": "traffic sign",
    "sign symbol": "traffic sign",
    "traffic signs": "traffic sign",
    "traffic lights": "traffic light",
    "column pole": "pole",
    "street": "road",
    "pedestrian": "person",
    "people": "person",
    "bicyclist": "rider",
    "cyclist": "rider",
    "bike": "bicycle",
    "motorbike": "motorcycle",
    "lorry": "truck",
}
# Names that a data set gives to the pixels nobody should learn or be scored on.
VOID = frozenset({"void", "unlabelled", "unlabeled", "ignore", "ignored"})

# Raw ids of the label files. Ids that are not listed are ignored.
CITYSCAPES_IDS: dict[int, str] = dict(
    zip(
        (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33),
        CITYSCAPES19,
        strict=True,
    )
)
GTA5_IDS = CITYSCAPES_IDS
# SYNTHIA-RAND-CITYSCAPES; in SYNTHIA's video sequences, which are not meant here, 12 is the lane
# markings. Ids 16, 18 and 20 hardly occur: they count only where a run asks for all 19 classes.
SYNTHIA_IDS = {
    **{1: "sky", 2: "building", 3: "road", 4: "sidewalk", 5: "fence", 6: "vegetation", 7: "pole"},
    **{8: "car", 9: "traffic sign", 10: "person", 11: "bicycle", 12: "motorcycle"},
    **{15: "traffic light", 16: "terrain", 17: "rider", 18: "truck", 19: "bus", 20: "train"},
    21: "wall",
}
# The 11 classes of SegNet's release, in its order; its 11 is void.
CAMVID11 = (
    *("sky", "building", "pole", "road", "sidewalk", "vegetation", "traffic sign"),
    *("fence", "car", "person", "rider"),
)
CAMVID_IDS = dict(enumerate(CAMVID11))


class ClassSet(NamedTuple):
    """The classes of ids 0..C-1, and their RGB colours in the same order."""

    names: tuple[str, ...]
    palette: tuple[Colour, ...]


def canonical(name: str) -> str:
    """The one name under which a class of any data set is known here."""
    plain = " ".join(name.lower().replace("_", " ").replace("-", " ").split())
    return ALIASES.get(plain, plain)


def palette_of(names: Sequence[str]) -> tuple[Colour, ...]:
    """An RGB colour (0..255) per class: Cityscapes' where it has one, else one by the name."""
    return tuple(COLOURS.get(canonical(name)) or _invented(canonical(name)) for name in names)


def _invented(name: str) -> Colour:
    hue, light, *_ = hashlib.sha256(name.encode()).digest()
    hls = np.array([[[hue * 180 // 256, 110 + light // 4, 200]]], np.uint8)
    r, g, b = cv2.cvtColor(hls, cv2.COLOR_HLS2RGB)[0, 0].tolist()
    return r, g, b


# What SYNTHIA does not label, and what is left out besides in the scores over 13 classes.
CITYSCAPES16 = tuple(n for n in CITYSCAPES19 if n not in {"terrain", "truck", "train"})
CITYSCAPES13 = tuple(n for n in CITYSCAPES16 if n not in {"wall", "fence", "pole"})
CLASS_SETS: dict[str, ClassSet] = {
    name: ClassSet(names, palette_of(names))
    for name, names in {
        "cityscapes19": CITYSCAPES19,
        "cityscapes16": CITYSCAPES16,
        "cityscapes13": CITYSCAPES13,
        "camvid11": CAMVID11,
        "toytown": TOYTOWN,
    }.items()
}


def shared(source: tuple[str, ...], target: tuple[str, ...]) -> tuple[str, ...]:
    """The classes both sides have, in the source's order; UserError when there is none."""
    theirs = {canonical(name) for name in target}
    both = tuple(dict.fromkeys(n for n in map(canonical, source) if n in theirs))
    if not both:
        raise UserError(
            f"source and target share no class: one has {', '.join(source)}, the other "
            f"{', '.join(target)}; name the classes alike in classes.json"
        )
    return both


def trained_classes(
    spec: str, source: tuple[str, ...], target: tuple[str, ...] | None
) -> tuple[str, ...]:
    """The classes to train: "" for those both sides share, a set's name, or names with commas.

    A target without classes (bare images) leaves the source's. Raises UserError for an unknown
    name, and when the source labels none of the classes asked for.
    """
    if not spec.strip():
        return shared(source, source if target is None else target)
    if spec in CLASS_SETS:
        wanted = CLASS_SETS[spec].names
    else:
        known = {canonical(n) for n in (*CITYSCAPES19, *source, *(target or ()))}
        wanted = tuple(dict.fromkeys(canonical(part) for part in spec.split(",") if part.strip()))
        for name in wanted:
            if name not in known:
                raise unknown("class", name, {*known, *CLASS_SETS})
    if not {canonical(name) for name in source} & set(wanted):
        raise UserError(
            f"--classes {spec}: the source labels none of these; it has {', '.join(source)}"
        )
    return wanted
