"""The quickstart's pictures: the same frames before and after adaptation, side by side."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from roadshift import Failure
from serve.media.files import write_whole

COUNT = 3
PANELS = ("image", "before", "after", "truth")
GAP = 4


def before_after(folder: Path) -> list[Path]:
    """Joins folder/before/N.png and folder/after/N.png to three pictures in `folder`.

    Both hold strips of three panels of one width, as `roadshift evaluate --pictures` writes them:
    image, prediction, ground truth. What comes out has image, before, after, ground truth.
    Raises Failure where frames are missing, cannot be read, or are not of the same scene.
    """
    names = sorted(path.name for path in (folder / "before").glob("*.png"))
    names = [name for name in names if (folder / "after" / name).exists()]
    if len(names) < COUNT:
        raise Failure(
            f"{folder} has {len(names)} frames in both before/ and after/, and {COUNT} are wanted: "
            "delete the folder of the quickstart and run it again"
        )
    # Spread over what was drawn, not picked for how they came out.
    chosen = [names[i * (len(names) - 1) // (COUNT - 1)] for i in range(COUNT)]
    return [_join(folder, name, folder / f"{i}.png") for i, name in enumerate(chosen, 1)]


def _join(folder: Path, name: str, result: Path) -> Path:
    image, before, truth = _panels(folder / "before" / name)
    same, after, _ = _panels(folder / "after" / name)
    if image.shape != same.shape or (image != same).any():
        raise Failure(f"{name} shows different frames in {folder}/before and {folder}/after")
    white = np.full((image.shape[0], GAP, 3), 255, np.uint8)
    row = [image, white, before, white, after, white, truth]
    png = io.BytesIO()
    Image.fromarray(np.concatenate(row, axis=1)).save(png, "PNG")
    write_whole(result, png.getvalue())
    return result


def _panels(path: Path) -> list[NDArray[np.uint8]]:
    try:
        strip = np.asarray(Image.open(path).convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise Failure(f"{path} cannot be read ({error}): delete it and run again") from error
    if strip.shape[1] % 3:
        raise Failure(f"{path} is {strip.shape[1]} pixels wide, not three panels of one width")
    return np.split(strip, 3, axis=1)
