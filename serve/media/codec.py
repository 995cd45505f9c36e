"""Bytes to arrays and back; sizes and formats are checked before anything is decoded."""

from __future__ import annotations

import zlib

import cv2
import numpy as np
from numpy.typing import NDArray

from serve.limits import Refusal
from serve.media.image_header import jpeg_pixels_at, read_header

# Each row minus the one above is nearly all zeros in a label map: a third of the time of OpenCV's
# default filter, and half the bytes. Older versions of OpenCV cannot choose the filter.
_UP = ("IMWRITE_PNG_FILTER", "IMWRITE_PNG_FILTER_UP")
_PNG_LABELS = [getattr(cv2, name) for name in _UP] if hasattr(cv2, _UP[0]) else []
# One pass over the frame less than turning BGR round; since OpenCV 4.11.
_RGB: int | None = getattr(cv2, "IMREAD_COLOR_RGB", None)


def decode(data: bytes, max_pixels: int | None = None) -> NDArray[np.uint8]:
    """RGB uint8 [h,w,3] of a JPEG, PNG or WebP file, upright (its EXIF orientation is applied).

    16 bits become 8, grey becomes RGB, transparency is dropped. Raises Refusal like `read_header`,
    and 400 for an image that is truncated or damaged.
    """
    header = read_header(data, max_pixels)
    broken = f"the {header.format} image is truncated or damaged: send the whole file"
    # Some versions of OpenCV return a truncated JPEG with grey where the rest should be.
    if header.format == "JPEG" and data.find(b"\xff\xd9", jpeg_pixels_at(data)) < 0:
        raise Refusal(400, broken)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), _RGB or cv2.IMREAD_COLOR)
    except cv2.error as error:  # beyond OpenCV's own limit of pixels
        raise Refusal(400, f"the {header.format} image could not be decoded") from error
    if image is None:
        raise Refusal(400, broken)
    if _RGB is None:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return image.astype(np.uint8, copy=False)


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG file of class ids or another single channel [h,w], or of an RGB image [h,w,3]."""
    if pixels.ndim == 2:
        return cv2.imencode(".png", pixels, _PNG_LABELS)[1].tobytes()
    return cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes()


def encode_jpeg(image: NDArray[np.uint8], quality: int = 92) -> bytes:
    """A JPEG file of an RGB image [h,w,3]."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def inflate(data: bytes, encoding: str, limit: int) -> bytes:
    """The body behind a Content-Encoding of gzip or deflate (or none), `limit` bytes at most.

    Raises Refusal: 415 for another encoding, 400 for damaged data, 413 for more than `limit`.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return data
    windows = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
    if encoding not in windows:
        raise Refusal(415, f"Content-Encoding {encoding[:40]!r} is not read: use gzip or deflate")
    inflater = zlib.decompressobj(windows[encoding])
    try:
        body = inflater.decompress(data, limit + 1)
    except zlib.error as error:
        raise Refusal(400, f"the body is not {encoding} data: check Content-Encoding") from error
    if len(body) > limit:
        raise Refusal(413, f"the body decompresses to more than {limit} bytes: send less")
    if not inflater.eof or inflater.unused_data:
        raise Refusal(400, f"the {encoding} data is truncated or has more behind it: send it again")
    return body


def deflate(data: bytes, encoding: str) -> bytes:
    """`data` as gzip or deflate (a zlib container), fast rather than small."""
    window = 16 + zlib.MAX_WBITS if encoding == "gzip" else zlib.MAX_WBITS
    deflater = zlib.compressobj(1, zlib.DEFLATED, window)
    return deflater.compress(data) + deflater.flush()
