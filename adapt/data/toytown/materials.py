"""Toytown's materials: what each one is labelled, and its colours in the two cities."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

CLASSES = (
    "road", "sidewalk", "building", "fence", "pole", "traffic light", "traffic sign",
    "vegetation", "terrain", "sky", "person", "car",
)  # fmt: skip
SKY = CLASSES.index("sky")


class Kind(NamedTuple):
    """A material: its class, its colours in either city (RRGGBB), how rough it is (0 is smooth)."""

    label: str
    game: str
    camera: str
    grain: float


KINDS = {
    "sky": Kind("sky", "4696f5", "bac4d2 c8ccd0 96b4d8", 0.0),
    "road": Kind("road", "4e4e58", "6c6a68 5f5f62 7c7874", 1.0),
    "lane": Kind("road", "fafafa", "afada8 beb48c", 0.8),
    "shadow": Kind("road", "2d2d37", "3c3a3a", 0.6),
    "walk": Kind("sidewalk", "cdb4af", "aa9c94 988880 b4a69c", 1.0),
    "kerb": Kind("sidewalk", "e1d7d2", "bcb6b0 a09c98", 0.6),
    "wall": Kind(
        "building", "e16e46 f0be5a be5050 e69682", "966e5a b9a588 825f50 a58c73 c8b496 8c5a4e", 0.9
    ),
    "window": Kind("building", "5abee6", "40505c 566674 788a96", 0.5),
    "roof": Kind("building", "96322d", "5c4842 545458 78584a", 0.7),
    "shop": Kind("building", "784682 3c788c", "5c4a5e 6a5c54 4a5e68", 0.7),
    "fence": Kind("fence", "965f28", "7a6046 866e54 685c48", 0.8),
    "slat": Kind("fence", "be823c", "988060 a48c70 80725c", 0.8),
    "pole": Kind("pole", "3c4150", "484c54 3c3c42 62666c", 0.2),
    "signal": Kind("traffic light", "1e1e1e", "2e2e2c 3c3a2a", 0.2),
    "red": Kind("traffic light", "ff1e1e", "eb5a46", 0.0),
    "amber": Kind("traffic light", "ffbe00", "f0b450", 0.0),
    "green": Kind("traffic light", "1eff3c", "6ee1a0", 0.0),
    "sign red": Kind("traffic sign", "e6141e", "be3c3a", 0.2),
    "sign blue": Kind("traffic sign", "143ce6", "3a5aaa", 0.2),
    "sign white": Kind("traffic sign", "ffffff", "cdcbc4", 0.2),
    "trunk": Kind("vegetation", "6e411e", "54483c", 0.8),
    "leaf": Kind("vegetation", "1e9628 32aa32", "4e6838 42603c 686e3a 5a7a42", 1.8),
    "grass": Kind("terrain", "6ed73c", "80944c 8c8c56 708848", 1.3),
    "skin": Kind("person", "f0c3a0 a06946", "c8a088 825c48", 0.2),
    "hair": Kind("person", "3c2314", "382e28 6e5c46", 0.2),
    "coat": Kind(
        "person", "dc1e8c f5dc1e 8228d2 fa7814", "963250 3c3c8c aa8c32 5a3c6e be6432 464648", 0.4
    ),
    "trousers": Kind("person", "1e2882 3c1e5a", "32384e 4a3c50 62605a", 0.4),
    "car": Kind(
        "car", "d71928 1e46dc fafafa facd14", "44484e a8acb0 2c2e36 96302e 34508a d0d0ce", 0.2
    ),
    "glass": Kind("car", "283c50", "343c42 5c666e", 0.2),
    "tyre": Kind("car", "19191c", "222222", 0.2),
    "tail": Kind("car", "ff3c28", "aa322e", 0.0),
    "plate": Kind("car", "ebebeb", "bebcb0", 0.0),
}
NUMBERS = {name: i for i, name in enumerate(KINDS)}
KIND_LABELS = np.array([CLASSES.index(kind.label) for kind in KINDS.values()], np.uint8)
KIND_GRAIN = np.array([kind.grain for kind in KINDS.values()], np.float32)


def rgb(colours: str) -> list[tuple[int, int, int]]:
    return [(c[0], c[1], c[2]) for c in map(bytes.fromhex, colours.split())]
