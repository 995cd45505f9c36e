"""A clip to an annotated video, by file and by a server's stream: frames a second.

    python bench/clip.py BUNDLE FRAMES [--videos DIR] [--out bench/results/clip.md]

FRAMES is a folder of images, of which a video is made first. By file the network runs in this
process; by stream `roadshift serve` of the same bundle runs beside it on the same machine. They are
timed in turn, after a frame that is not counted. `--videos` keeps what came out. Needs httpx.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from attacks import serving
from deploy_setup import cpu
from numpy.typing import NDArray

from export.bundle import read_bundle
from serve.media.codec import decode
from serve.media.files import images_in
from serve.media.segment_files import Report, segment
from serve.media.video import frames_of, opened, write_video
from serve.remote.overlay_stream import RemoteServer
from serve.remote.segment_remotely import segment_remotely
from serve.runtime.engine import Engine

ROOT = Path(__file__).resolve().parents[1]
FPS = 17.0
"""Of Cityscapes' camera."""
ROUNDS = 3


def timed(run: Callable[[], Report]) -> float:
    """Seconds."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def read(video: Path) -> NDArray[np.uint8]:
    """All frames, RGB [n,h,w,3]."""
    with opened(video) as capture:
        return np.stack([*frames_of(capture)])


def difference(one: Path, other: Path) -> str:
    """How far two videos' frames are from each other; UserError of their reading."""
    a, b = read(one), read(other)
    if len(a) != len(b):
        return f"{len(a)} and {len(b)} frames"
    return f"{np.mean([cv2.absdiff(x, y).mean() for x, y in zip(a, b, strict=True)]):.2f}"


def main() -> None:
    """Reads the command line, segments the clip in each way, writes the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("frames", type=Path)
    parser.add_argument("--videos", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    bundle, images = read_bundle(options.bundle), images_in(options.frames)
    engine = Engine(bundle)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.videos or Path(temporary)
        clip = folder / "clip.mp4"
        count = write_video(clip, FPS, (decode(image.read_bytes()) for image in images))
        first = decode(images[0].read_bytes())
        engine.segment(first[None])
        by_file, by_stream = folder / "by_file.mp4", folder / "by_stream.mp4"
        of_images = folder / "images_by_stream.mp4"
        with serving(ROOT, options.bundle, Path(temporary)) as running:
            server = RemoteServer(running.address)
            one = Path(temporary) / "one"
            one.mkdir()
            (one / images[0].name).write_bytes(images[0].read_bytes())
            segment_remotely(server, one, Path(temporary) / "one.mp4")
            ways = {
                "a video by file": lambda: segment(engine, clip, by_file, overwrite=True),
                "the video by stream": lambda: segment_remotely(server, clip, by_stream),
                "its images by stream": lambda: segment_remotely(server, options.frames, of_images),
            }
            load = os.getloadavg()[0]
            rounds = [{name: timed(run) for name, run in ways.items()} for _ in range(ROUNDS)]
        took = {name: median(each[name] for each in rounds) for name in ways}
        lines = ["| | seconds | frames a second |", "|---|---|---|"]
        lines += [f"| {name} | {s:.2f} | {count / s:.2f} |" for name, s in took.items()]
        height, width = first.shape[:2]
        about = (
            f"`python bench/clip.py`: bundle {bundle.name}, {count} frames of {height}x{width}, "
            f"{cpu()}, {os.cpu_count()} cores, load average {load:.1f} when it "
            f"began, {date.today()}; medians of {ROUNDS}. The videos by file and by stream "
            f"differ by {difference(by_file, by_stream)} of 255 in the mean, as JPEG lies between."
        )
    table = "\n".join(lines)
    print(about, table, sep="\n\n")
    if options.out:
        options.out.write_text(f"{about}\n\n{table}\n")


if __name__ == "__main__":
    main()
