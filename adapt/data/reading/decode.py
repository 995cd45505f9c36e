"""Image and label files to arrays, refusing what is damaged; the file formats' traps live here."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt, UInt8
from PIL import Image, UnidentifiedImageError

EXIF_ORIENTATION = 0x0112
PNG, PNG_GREY, PNG_PALETTE = b"\x89PNG\r\n\x1a\n", 0, 3


_REDUCED = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
}


class Unreadable(Exception):  # noqa: N818 - the reader says which file and what to do
    """Why a file is no image: the reason alone, without the file's name."""


def decode_image(path: Path, least: tuple[int, int] | None = None) -> UInt8[np.ndarray, "h w 3"]:
    """An image file as RGB, 0..255; Unreadable when it is empty, truncated or no image.

    With `least` = (height, width) a JPEG comes at the smallest of 1, 1/2, 1/4, 1/8 of its size
    that is not under it: its blocks are then never decoded whole.
    """
    content = _whole(path)
    flag = _reduced(image_size(path), least) if least and _is_jpeg(content) else cv2.IMREAD_COLOR
    bgr = _decode(content, flag)
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def decode_label(path: Path, *, last_channel: bool) -> UInt[np.ndarray, "h w"]:
    """A label file's raw ids; with `last_channel` those of the last channel OpenCV reads.

    Raises Unreadable for a damaged file, and for one that holds colours instead of ids.
    """
    content = _whole(path)
    if content.startswith(PNG) and content[25] == PNG_PALETTE:
        # OpenCV would give the palette's colours; the ids are the indices into it.
        try:
            with Image.open(io.BytesIO(content)) as picture:
                return np.array(picture)
        except (OSError, SyntaxError, ValueError) as error:
            raise Unreadable(f"is damaged ({error})") from error
    raw = _decode(content, cv2.IMREAD_UNCHANGED)
    if raw.ndim == 3 and last_channel:
        raw = np.ascontiguousarray(raw[..., -1])
    if raw.ndim != 2:
        raise Unreadable(f"has {raw.shape[2]} channels of colour, not one class id per pixel")
    if raw.dtype.name not in {"uint8", "uint16"}:
        raise Unreadable(f"holds {raw.dtype} numbers, not class ids of 8 or 16 bits")
    if content.startswith(PNG) and content[25] == PNG_GREY and content[24] < 8:
        # Both libraries stretch grey values of fewer bits over 0..255.
        raw = raw // np.uint8(255 // (2 ** content[24] - 1))
    return raw


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) as decode_image would give it, from the file's head; Unreadable if none."""
    try:
        with Image.open(path) as picture:
            turned = picture.getexif().get(EXIF_ORIENTATION, 1) >= 5
            width, height = picture.size
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:
        raise Unreadable(f"cannot be read ({error})") from error
    return (width, height) if turned else (height, width)


def _is_jpeg(content: bytes) -> bool:
    return content.startswith(b"\xff\xd8")


def _reduced(size: tuple[int, int], least: tuple[int, int]) -> int:
    """OpenCV's flag for the most reduced scale at which both sides are still long enough."""
    for factor, flag in _REDUCED.items():
        if size[0] >= factor * least[0] and size[1] >= factor * least[1]:
            return flag
    return cv2.IMREAD_COLOR


def _decode(content: bytes, flags: int) -> np.ndarray:
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:
        raise Unreadable(f"cannot be decoded ({error.err})") from error
    if pixels is None:
        raise Unreadable("is damaged or no image")
    return pixels


def _whole(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Unreadable(f"cannot be read ({error.strerror})") from error
    if not content:
        raise Unreadable("is empty (0 bytes)")
    if _truncated(content):
        raise Unreadable(f"is truncated (it ends after {len(content)} bytes)")
    return content


def _truncated(content: bytes) -> bool:
    """Whether the end is missing: OpenCV 4 fills the rest of such a file with grey, silently."""
    if content.startswith(PNG):
        return b"IEND" not in content[-64:]
    if _is_jpeg(content):
        # The last scan has no end mark; a thumbnail's end mark comes before that scan.
        return content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda")
    if content.startswith(b"RIFF"):
        return len(content) < int.from_bytes(content[4:8], "little") + 8
    if content.startswith(b"BM"):
        return len(content) < int.from_bytes(content[2:6], "little")
    return False
