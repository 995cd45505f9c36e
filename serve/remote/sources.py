"""Frames as image files, out of a video, a folder or a camera."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import cv2

from roadshift import UserError
from serve.media.codec import encode_jpeg
from serve.media.files import VIDEOS, images_in
from serve.media.video import frames_of, opened, rate_and_count

_QUALITY = 95
"""Of the JPEG of a frame that is no file yet."""


class Source(NamedTuple):
    """Image files, how many a second, and how many there are, each 0 where nobody knows."""

    frames: Iterator[bytes]
    fps: float
    total: int


@contextmanager
def source_of(path: Path) -> Generator[Source]:
    """A video's frames, the images of a folder by name, or those of a camera by its number.

    A camera's end with SIGINT (Ctrl-C). Raises UserError for anything else, and for what cannot be
    read.
    """
    if path.is_dir():
        images = images_in(path)
        yield Source((image.read_bytes() for image in images), 0.0, len(images))
    elif path.suffix.lower() in VIDEOS and path.is_file():
        with opened(path) as capture:
            yield Source(_encoded(capture), *rate_and_count(capture))
    elif path.name.isdecimal() and not path.exists():
        with _camera(int(path.name)) as source:
            yield source
    else:
        raise UserError(
            f"{path}: wanted a video ({', '.join(VIDEOS)}), a folder of images, or a camera's "
            "number"
        )


def _encoded(capture: cv2.VideoCapture) -> Iterator[bytes]:
    return (encode_jpeg(frame, _QUALITY) for frame in frames_of(capture))


@contextmanager
def _camera(number: int) -> Generator[Source]:
    capture, stopped = cv2.VideoCapture(number), threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: stopped.set())
    try:
        if not capture.isOpened():
            raise UserError(f"there is no camera {number}, or another program has it")
        frames = takewhile(lambda _: not stopped.is_set(), _encoded(capture))
        yield Source(frames, rate_and_count(capture)[0], 0)
    finally:
        signal.signal(signal.SIGINT, before)
        capture.release()
