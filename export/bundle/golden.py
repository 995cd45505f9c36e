"""A bundle's golden frames: what they are called, and as PNG files.

golden/N.png            a frame
golden/N.labels.png     what torch's segmentor made of it: labels,
golden/N.confidence.png its confidence, and
golden/N.logits.npy     its logits at their own size, float16 (both not in bundles of format 2)
golden/N.rebuilt.png    what torch's reconstructor drew of those labels, where there is one
golden/N.translated.png what torch's translator made of the frame, where there is one
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from roadshift import UserError


class Golden(NamedTuple):
    """A frame, uint8 RGB [h,w,3], and what torch made of it: labels, uint8 [h,w], and where they
    are known confidence, uint8 [h,w], and logits [classes,hs,ws]."""

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    confidence: NDArray[np.uint8] | None = None
    logits: NDArray[np.floating] | None = None


class GoldenDrawn(NamedTuple):
    """What was drawn of (labels, uint8 [h,w], or a frame [h,w,3]), and torch's uint8 RGB image."""

    given: NDArray[np.uint8]
    image: NDArray[np.uint8]


def images_in(files: Iterable[str]) -> list[str]:
    """The names among `files` that are golden frames, by number."""
    names = [name for name in files if re.fullmatch(r"golden/\d+\.png", name)]
    return sorted(names, key=lambda name: int(PurePosixPath(name).stem))


def labels_of(image: str) -> str:
    """The name of the labels that belong to the frame of that name."""
    return image.removesuffix(".png") + ".labels.png"


def confidence_of(image: str) -> str:
    """The name of the confidence that belongs to the frame of that name."""
    return image.removesuffix(".png") + ".confidence.png"


def logits_of(image: str) -> str:
    """The name of the logits that belong to the frame of that name."""
    return image.removesuffix(".png") + ".logits.npy"


def drawn_of(image: str, how: str) -> str:
    """The name of what was drawn ("rebuilt" or "translated") of the frame of that name."""
    return image.removesuffix(".png") + f".{how}.png"


def golden_files(
    golden: Sequence[Golden], drawn: Mapping[str, Sequence[NDArray[np.uint8]]]
) -> dict[str, bytes]:
    """The files of those frames, and of what was "rebuilt" or "translated" of each of them."""
    files: dict[str, bytes] = {}
    for i, one in enumerate(golden):
        name = f"golden/{i}.png"
        files |= {name: png(one.image), labels_of(name): png(one.labels)}
        if one.confidence is not None:
            files[confidence_of(name)] = png(one.confidence)
        if one.logits is not None:
            files[logits_of(name)] = _npy(one.logits)
        files |= {drawn_of(name, how): png(images[i]) for how, images in drawn.items()}
    return files


def read_png(path: Path, mode: str) -> NDArray[np.uint8]:
    """The pixels of a PNG file: "RGB" [h,w,3], or "L" [h,w]; UserError for what is none."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert(mode))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _damaged(path, error) from error


def read_npy(path: Path) -> NDArray[np.floating]:
    """The numbers of an .npy file, nothing in which can run code; UserError for what is none.

    It is mapped, so that a header which promises terabytes takes none.
    """
    try:
        numbers = np.load(path, mmap_mode="r", allow_pickle=False)
        if not (isinstance(numbers, np.ndarray) and np.issubdtype(numbers.dtype, np.floating)):
            raise ValueError("it holds no array of floats")
        return np.array(numbers)
    except (OSError, ValueError, EOFError, OverflowError, MemoryError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} is damaged ({error}): export or copy the bundle again")


def _npy(numbers: NDArray[np.floating]) -> bytes:
    file = io.BytesIO()
    fits = float(np.abs(numbers).max(initial=0)) < np.finfo(np.float16).max
    np.save(file, numbers.astype(np.float16 if fits else np.float32), allow_pickle=False)
    return file.getvalue()


def png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG file of RGB [h,w,3], or of one channel [h,w]."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()
