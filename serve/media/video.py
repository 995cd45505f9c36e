"""Video files: the frames of one, and frames into one."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from roadshift import Failure, UserError, hxw, replacing
from serve.media.files import out_folder

FPS = 25.0
"""For a video that does not say how fast it is."""


def write_video(out: Path, fps: float, frames: Iterator[NDArray[np.uint8]]) -> int:
    """Writes RGB frames [h,w,3] as an MP4 (MPEG-4 part 2) without sound; how many there were.

    `fps` 0 is FPS. The codec works in pairs of pixels: an odd last row or column is dropped. Where
    there is no frame, no file is made. Raises UserError for frames of several sizes, Failure when
    it cannot be written.
    """
    first = next(frames, None)
    if first is None:
        return 0
    out_folder(out.parent)
    done = 0
    with replacing(out) as part, writing(part, fps or FPS, first) as writer:
        for done, frame in enumerate(chain([first], frames), 1):
            if frame.shape != first.shape:
                raise UserError(
                    f"frame {done} is {hxw(frame.shape[:2])} and the first {hxw(first.shape[:2])}: "
                    "a video has frames of one size"
                )
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    return done


def video_remarks(source: object, fps: float, total: int, done: int) -> list[str]:
    """What is odd about a video of that rate (0: unknown), of which `done` frames were there."""
    remarks = [] if fps else [f"{source} does not say its frame rate: {FPS:g}/s was written"]
    if done < total:
        remarks.append(f"{source} announces {total} frames, and {done} could be read")
    return remarks


def rate_and_count(capture: cv2.VideoCapture) -> tuple[float, int]:
    """Frames a second and how many there are, each 0 where the file does not say."""
    fps, frames = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
    known = math.isfinite(fps) and 0 < fps <= 1000
    return fps if known else 0.0, int(frames) if math.isfinite(frames) and frames > 0 else 0


@contextmanager
def opened(video: Path) -> Generator[cv2.VideoCapture]:
    """The frames of a video file; UserError where none of its kind can be read."""
    # FFmpeg only: other readers take a name with digits or % for a series of files.
    capture = cv2.VideoCapture(str(video.resolve()), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            raise UserError(
                f"{video} could not be opened as a video: it is damaged, or of a format that this "
                "OpenCV does not read: convert it to MP4 (H.264)"
            )
        yield capture
    finally:
        capture.release()


def next_frame(capture: cv2.VideoCapture) -> NDArray[np.uint8] | None:
    """The next frame, RGB [h,w,3], or None at the end."""
    there, frame = capture.read()
    return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False) if there else None


def frames_of(capture: cv2.VideoCapture) -> Iterator[NDArray[np.uint8]]:
    """Its frames, RGB [h,w,3], to the end."""
    while (frame := next_frame(capture)) is not None:
        yield frame


@contextmanager
def writing(path: Path, fps: float, frame: NDArray[np.uint8]) -> Generator[cv2.VideoWriter]:
    """A writer of frames (BGR) like that one: .webm is VP8, which browsers play, else MPEG-4."""
    size = (frame.shape[1], frame.shape[0])
    codec = cv2.VideoWriter.fourcc(*("VP80" if path.suffix == ".webm" else "mp4v"))
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, fps, size)
    try:
        if not writer.isOpened():
            raise Failure(
                f"this OpenCV cannot write {path.suffix[1:].upper()} video of {hxw(size[::-1])}"
            )
        yield writer
    finally:
        writer.release()
    # OpenCV does not tell when a disk is full; the file it closed does.
    if path.stat().st_size == 0:
        raise OSError("no video came out (is the disk full?)")
