"""What an image file's first bytes say, and whether it is worth decoding."""

from __future__ import annotations

import io
import re
from typing import NamedTuple

from PIL import Image

from roadshift import hxw
from serve.limits import Refusal

MOST_SCANS = 32
"""The most passes over a JPEG's pixels that are decoded. A progressive file has about 10 of them
(18 in libjpeg's longest script), each costs about as much as the whole image, and a hundred
kilobytes hold hundreds of empty ones."""

_MAGIC = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"RIFF": "WebP"}
_ANIMATED = 2
_TEMPORARY = 1  # the one marker in the middle of a file that has no length behind it
# A marker that ends a scan's data: neither a stuffed zero, nor a restart, nor a filler.
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")


class Header(NamedTuple):
    """What the first bytes of a file say: "JPEG", "PNG" or "WebP", and its size in pixels."""

    format: str
    height: int
    width: int


def read_header(data: bytes, max_pixels: int | None = None) -> Header:
    """The format and size of an image file, without decoding it.

    Raises Refusal: 415 for another format or an animation, 400 for a broken header, 413 for more
    than `max_pixels`, or than MOST_SCANS.
    """
    kind = _format(data)
    try:
        height, width = _webp_size(data) if kind == "WebP" else _pillows_size(data, kind)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Refusal(413, "the image is far too large: scale it down before sending it") from error
    except Refusal:
        raise
    except Exception as error:  # Pillow's parsers raise whatever a broken header leads to
        raise Refusal(400, f"the {kind} image has a broken header: save it again") from error
    if max_pixels is not None and width * height > max_pixels:
        raise Refusal(
            413,
            f"the image has {hxw((height, width))} (height x width) = {height * width} pixels; at "
            f"most {max_pixels} are taken: scale it down before sending it",
        )
    if kind == "JPEG" and (scans := count_scans(data)) > MOST_SCANS:
        raise Refusal(
            413,
            f"the JPEG image has {scans} scans; at most {MOST_SCANS} are decoded: save it again, "
            "not progressive",
        )
    return Header(kind, height, width)


def jpeg_pixels_at(data: bytes) -> int:
    """Where a JPEG's pixels begin: what comes before that may be an embedded thumbnail's."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        filler = data[at + 1] == 0xFF
        at += 1 if filler else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at


def count_scans(data: bytes) -> int:
    """How often a JPEG file goes over its pixels (ITU T.81, B.2.3), from its markers alone."""
    scans, at = 0, 2
    while found := _MARKER.search(data, at):
        marker, at = found[1][0], found.end()
        if marker == 0xD9:
            break
        scans += marker == 0xDA
        at += 0 if marker == _TEMPORARY else int.from_bytes(data[at : at + 2], "big")
    return scans


def _format(data: bytes) -> str:
    kind = next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), None)
    if kind is None or (kind == "WebP" and data[8:12] != b"WEBP"):
        what = "an empty body" if not data else f"bytes that begin with {data[:4].hex(' ')}"
        raise Refusal(415, f"wanted a JPEG, PNG or WebP image, got {what}: convert the image")
    return kind


def _pillows_size(data: bytes, kind: str) -> tuple[int, int]:
    with Image.open(io.BytesIO(data), formats=(kind,)) as image:
        width, height = image.size
    return height, width


def _webp_size(data: bytes) -> tuple[int, int]:
    """Height and width (RFC 9649): Pillow makes room for all the pixels before it tells them."""
    chunk, head = data[12:16], data[20:30]
    if len(head) < 10:
        raise ValueError("too short")
    if chunk == b"VP8X":
        if head[0] & _ANIMATED:
            raise Refusal(415, "the WebP image is an animation: send its frames one by one")
        width, height = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (4, 7))
    elif chunk == b"VP8L" and head[0] == 0x2F:
        bits = int.from_bytes(head[1:5], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif chunk == b"VP8 " and head[3:6] == b"\x9d\x01\x2a":
        width, height = (int.from_bytes(head[at : at + 2], "little") & 0x3FFF for at in (6, 8))
    else:
        raise ValueError("no known chunk")
    return height, width
