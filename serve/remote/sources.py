"""Frames as image files, out of a video, a folder or a camera."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from roadshift import UserError
from serve.media.codec import encode_jpeg
from serve.media.files import VIDEOS, images_in
from serve.media.frame_source import frames_from, is_live, shown

_QUALITY = 95
"""Of the JPEG of a frame that is no file yet."""


class Sent(NamedTuple):
    """An image file's bytes, and how many frames before it were never taken."""

    content: bytes
    missed: int = 0


class Source(NamedTuple):
    """Image files, how many a second, and how many there are, each 0 where nobody knows."""

    frames: Iterator[Sent]
    fps: float
    total: int


@contextmanager
def source_of(source: str) -> Generator[Source]:
    """The images of a folder by name, or the frames of a video or a camera (see `frames_from`).

    Raises UserError for anything else, and for what cannot be read.
    """
    path = Path(source)
    if path.is_dir():
        images = images_in(path)
        yield Source((Sent(image.read_bytes()) for image in images), 0.0, len(images))
    elif is_live(source) or (path.suffix.lower() in VIDEOS and path.is_file()):
        with frames_from(source) as (taken, fps, total):
            files = (Sent(encode_jpeg(frame, _QUALITY), missed) for frame, missed in taken)
            yield Source(files, fps, total)
    else:
        raise UserError(
            f"{shown(source)}: wanted a video ({', '.join(VIDEOS)}), a folder of images, a "
            "camera's number, or rtsp://…"
        )
