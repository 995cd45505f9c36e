"""Frames out of a video file, of a camera, or of one on the network (RTSP)."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import repeat
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import cv2

from roadshift import UserError
from serve.media.ahead import Picture, Taken, ahead, newest
from serve.media.video import frames_of, opened, rate_and_count

_SCHEMES = ("rtsp://", "rtsps://")
_PATIENCE_MS = 10_000
"""So long a camera on the network may take to answer, and to send its next picture."""


class Footage(NamedTuple):
    """Its frames, how many a second, and how many there are, each 0 where nobody knows."""

    taken: Iterator[Taken]
    fps: float
    total: int


def is_live(source: str) -> bool:
    """Whether frames go on coming: a camera's number (no file of that name), or rtsp://."""
    return source.startswith(_SCHEMES) or (source.isdecimal() and not Path(source).exists())


def name_of(source: str) -> str:
    """What a video of that source is called, without suffix."""
    if not source.startswith(_SCHEMES):
        return f"camera{source}" if is_live(source) else Path(source).stem
    place = urlsplit(source)
    return Path(place.path).stem or place.hostname or "camera"


def shown(source: str) -> str:
    """The source for messages: without a user's name and password."""
    if not source.startswith(_SCHEMES):
        return source
    scheme, _, rest = source.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"  # also of odd passwords


@contextmanager
def frames_from(source: str) -> Generator[Footage]:
    """A video file's frames, each read while the one before is at work; or a live source's newest.

    Those of a live source end with SIGINT (Ctrl-C), or when it sends no more. Raises UserError for
    what cannot be opened.
    """
    if not is_live(source):
        with opened(Path(source)) as capture, closing(ahead(frames_of(capture))) as frames:
            yield Footage(map(Taken, frames), *rate_and_count(capture))
        return
    capture, stopped = _camera(source), threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: stopped.set())
    taken = newest(frames_of(capture), stopped)
    try:
        if not capture.isOpened():
            raise UserError(_unopened(source))
        yield Footage(taken, rate_and_count(capture)[0], 0)
    finally:
        taken.close()
        signal.signal(signal.SIGINT, before)
        capture.release()


def _camera(source: str) -> cv2.VideoCapture:
    if source.isdecimal():
        return cv2.VideoCapture(int(source))
    waits = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC)
    settings = [number for each in waits for number in (each, _PATIENCE_MS)]
    return cv2.VideoCapture(source, cv2.CAP_FFMPEG, settings)


def _unopened(source: str) -> str:
    if source.isdecimal():
        return f"there is no camera {source}, or another program has it"
    return (
        f"{shown(source)} sends no video that can be read: is the address right, does the camera "
        "want a name and password (rtsp://NAME:PASSWORD@HOST/…), and is its video H.264, H.265, "
        "MPEG-4 or JPEG?"
    )


def in_time(pictures: Iterable[Taken]) -> Generator[Picture]:
    """The pictures at the source's rate: in a missed one's place the one before is shown again."""
    last: Picture | None = None
    for picture, missed in pictures:
        if last is not None:
            yield from repeat(last, missed)
        yield picture
        last = picture


def missed_remark(missed: int, done: int) -> list[str]:
    """What to say where frames of a live source were not taken."""
    if not missed:
        return []
    return [
        f"{missed} of {missed + done} frames came faster than they were segmented: the one before "
        "is shown in their place"
    ]
