"""A visitor's clip under its class colours, as WebM (VP8), which browsers play.

Each frame takes its turn among the pictures of other visitors. The files lie in a folder of their
own, which goes when the answer is sent, or the visitor leaves.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import cv2

from demo.page.segmentation import At, Segmenting, labels_of, resized, scaled, working_size
from demo.page.visitors import Queue
from roadshift import Failure, UserError
from serve.limits import Refusal
from serve.media.paint import overlay
from serve.media.video import FPS, next_frame, opened, rate_and_count, writing

MOST_BYTES = 64 << 20
MOST_FRAMES = 750
"""Half a minute at 25 frames a second; of a longer clip the rest is left out."""
MOST_PIXELS = 512 * 1024
"""Of a frame; a larger one is scaled down."""
CHUNK = 1 << 18
UNREADABLE = "This file is no video that can be read here: choose an MP4, WebM, MOV, MKV or AVI."


async def clip_stream(
    engine: Segmenting, clip: bytes, at: At, clips: Queue, pictures: Queue
) -> AsyncGenerator[bytes]:
    """Lines of JSON, {"done": frames, "of": frames}, then {"bytes": n, "note": …} and n bytes.

    Or a line {"error": sentence}, and nothing more.
    """
    try:
        async with clips.place():
            with tempfile.TemporaryDirectory(prefix="roadshift-clip-") as folder:
                source, result = Path(folder) / "clip", Path(folder) / "overlay.webm"
                source.write_bytes(clip)
                frames = annotated(engine, source, result, at)
                try:
                    while (progress := await pictures.run(lambda: next(frames, None))) is not None:
                        yield _line(progress)
                finally:
                    frames.close()
                yield _line({"bytes": result.stat().st_size})
                with result.open("rb") as file:
                    while part := file.read(CHUNK):
                        yield part
    except Refusal as refusal:
        yield _line({"error": str(refusal)})
    except UserError:
        yield _line({"error": UNREADABLE})
    except Failure as error:
        yield _line({"error": str(error)})


def annotated(engine: Segmenting, clip: Path, out: Path, at: At) -> Generator[dict[str, int]]:
    """Writes `out` a frame a step; tells after each how many are done, and of how many.

    `at` is the size at which the network sees the frames.

    Raises UserError for a file without a frame that can be read.
    """
    with opened(clip) as capture:
        fps, count = rate_and_count(capture)
        frame = next_frame(capture)
        if frame is None:
            raise UserError("no frame can be read")
        height, width = scaled((frame.shape[0], frame.shape[1]), MOST_PIXELS)
        size = max(2, height - height % 2), max(2, width - width % 2)  # the codec works in pairs
        seen = working_size(engine.bundle, size, at)
        first = resized(frame, size, cv2.INTER_AREA)
        with writing(out, fps or FPS, first) as writer:
            done = 0
            while frame is not None and done < MOST_FRAMES:
                small = resized(frame, size, cv2.INTER_AREA)
                blend = overlay(small, labels_of(engine, small, seen), engine.bundle.palette)
                writer.write(cv2.cvtColor(blend, cv2.COLOR_RGB2BGR))
                done += 1
                yield {"done": done, "of": max(done, min(count, MOST_FRAMES))}
                frame = next_frame(capture)


def _line(values: dict[str, int] | dict[str, str]) -> bytes:
    return json.dumps(values).encode() + b"\n"
