"""A video in, the same video under its class colours out."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from roadshift import Failure, UserError, hxw, replacing
from serve.media.files import out_folder
from serve.media.paint import overlay
from serve.runtime.engine import Engine

FPS = 25.0
"""For a video that does not say how fast it is."""


def annotate(
    engine: Engine, video: Path, out: Path, progress: Callable[[int, int], None]
) -> list[str]:
    """Writes `out`, an MP4 (MPEG-4 part 2) with the video's size and frame rate, without sound.

    The codec works in pairs of pixels: an odd last row or column is dropped. Returns remarks, one
    sentence each. Raises UserError for a video that cannot be opened or has no frame, Failure when
    the answer cannot be written.
    """
    with opened(video) as capture:
        fps, total = rate_and_count(capture)
        first = next_frame(capture)
        if first is None:
            raise UserError(f"{video} holds no frame that can be read: convert it to MP4")
        engine.check((1, *first.shape))
        out_folder(out.parent)
        with replacing(out) as part, writing(part, fps or FPS, first) as writer:
            done, frame = 0, first
            while frame is not None:
                labels = engine.segment(frame[None]).labels[0]
                blend = overlay(frame, labels, engine.bundle.palette)
                writer.write(cv2.cvtColor(blend, cv2.COLOR_RGB2BGR))
                done += 1
                progress(done, total)
                frame = next_frame(capture)
    remarks = [] if fps else [f"{video} does not say its frame rate: {FPS:g}/s was written"]
    if done < total:
        remarks.append(f"{video} announces {total} frames, and {done} could be read")
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
