"""A tiny city of four classes, drawn with numpy."""

import json
from pathlib import Path

import cv2
import numpy as np

TINY_CLASSES = ("road", "building", "sky", "car")


def draw_tiny(seed: int, tint: float) -> tuple[np.ndarray, np.ndarray]:
    """A 32x64 street of four classes; `tint` makes the other city."""
    rng = np.random.default_rng(seed)
    label = np.zeros((32, 64), np.uint8)
    horizon = int(rng.integers(12, 20))
    label[:horizon] = 2
    label[4:horizon, : int(rng.integers(10, 30))] = 1
    x = int(rng.integers(5, 50))
    label[horizon : horizon + 6, x : x + 10] = 3
    colours = np.array([[90, 90, 95], [160, 60, 50], [110, 170, 230], [230, 210, 40]])
    image = colours[label] * tint + rng.normal(0, 8, (32, 64, 1))
    label[-2:, : 3 + 5 * (seed % 4)] = 255
    return image.clip(0, 255).astype(np.uint8), label


def write_tiny_city(folder: Path, count: int, tint: float, labels: bool = True) -> Path:
    """`count` drawn streets in the layout of `folder:PATH`."""
    (folder / "images").mkdir(parents=True)
    classes = [{"id": i, "name": name} for i, name in enumerate(TINY_CLASSES)]
    if labels:
        (folder / "labels").mkdir()
        (folder / "classes.json").write_text(json.dumps({"classes": classes}))
    for i in range(count):
        image, label = draw_tiny(i, tint)
        cv2.imwrite(str(folder / "images" / f"{i:03d}.png"), image[:, :, ::-1])
        if labels:
            cv2.imwrite(str(folder / "labels" / f"{i:03d}.png"), label)
    return folder
