"""A frame through the library beside the least that it can take, in turns in one process.

    taskset -c 0 python bench/latency.py runs/deploy/lraspp_mobilenet_v2 runs/deploy/pidnet_s

JPEGs of 1024x2048 in, PNGs of labels out, on one core. Makes a run's bundle where there is none in
--bundles, or an older one than the run's checkpoint. Writes bench/results/latency.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from deploy_ours import Ours, halves
from deploy_routes import Bare, Network, Seconds, Size, float_graph, onnx_runtime
from deploy_setup import FRAME, bundle_of, cpu, frame_shot, say, version

from adapt.checkpoint import read
from export.bundle import Bundle
from roadshift import replacing
from serve.library import OpenBundle
from serve.limits import pixel_limit
from serve.media.codec import decode, encode_jpeg, encode_png
from serve.media.paint import overlay
from serve.runtime.engine import Engine

RESULTS = Path(__file__).parent / "results" / "latency.md"
WARM_UP, GOAL = 3, 1.15
PACKAGES = ("onnxruntime", "opencv-python-headless", "numpy", "torch")
HOW = """\
# A frame through the library, beside the least that it can take

A JPEG of 1024x2048 in, a PNG of its labels at that size out; frame by frame, each by every row in
turn, in another order each time, in one process with one thread. Milliseconds are medians over the
frames. `of the limit` is the median over the frames of what a way took, divided by what the limit
took for the same frame; in CPU time, what else the machine does counts less.

- **limit**: our decoder, the bare network on floats that lie ready, our encoder on the very labels
  that the library gives for that frame. In fp32 the network is torch.onnx's export for that size
  without our rewriting, in int8 the bundle's graph from its first layer on, with the kernels that
  sum exactly on this CPU.
- **library**: `open_bundle(...).segment(jpeg)` and `encode_png`.
- **segment**: the library and the overlay's JPEG, as `roadshift segment` writes both.

The second table is the library's way in its steps: `pre` is the frame's way to the network, done
once more alone after the frame, `network` the rest of that call, `post` the labels of the logits.
"""


class Taken(NamedTuple):
    """Seconds for a frame, by the clock and of the CPU."""

    wall: float
    cpu: float


class Row(NamedTuple):
    """A network in one precision: what each way took for each frame, and the library's steps."""

    name: str
    size: Size
    taken: dict[str, list[Taken]]
    steps: list[Seconds]

    def times(self, way: str) -> np.ndarray:
        """Seconds [frame,2] by the clock and of the CPU."""
        return np.array(self.taken[way])


def main() -> None:
    """Measure every run in each of its bundle's precisions, and write the page."""
    asked = options().parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    jpegs, about = frames(asked.data)
    rows: list[Row] = []
    for run in asked.runs:
        bundle = bundle_of(run, asked.bundles / run.name, asked.data, {})
        rows += [row(run, bundle, p, jpegs[: asked.frames]) for p in precisions(bundle)]
    page = "\n".join([*head(asked, about), *table(rows), "", *steps(rows), ""])
    RESULTS.parent.mkdir(exist_ok=True)
    with replacing(RESULTS) as part:
        part.write_text(page)
    print(page)


def precisions(bundle: Bundle) -> list[str]:
    """Those that a CPU computes in."""
    return [precision for precision in bundle.precisions if precision != "fp16"]


def row(run: Path, bundle: Bundle, precision: str, jpegs: list[bytes]) -> Row:
    """Measures one network in one precision."""
    saved = read(run)
    size = saved.info.work_size or FRAME
    engine = Engine(bundle, threads=1, precision=precision)
    front, rest = halves(engine.sessions.graph(["logits"]), size)
    network = float_graph(Bare(saved.segmentor), size) if precision == "fp32" else rest
    street = OpenBundle(engine, pixel_limit(bundle))
    labels = [street.segment(jpeg).labels for jpeg in jpegs]
    ways = makers(street, onnx_runtime(network, 1), size)
    ours = Ours(engine, onnx_runtime(front, 1))
    say(f"{run.name}, {precision}: measuring")
    taken: dict[str, list[Taken]] = {name: [] for name in ways}
    parts: list[Seconds] = []
    turns = random.Random(0)
    for i in (*range(WARM_UP), *range(len(jpegs))):
        for name in turns.sample(list(ways), len(ways)):
            wall, of_cpu = time.perf_counter(), time.process_time()
            ways[name](jpegs[i], labels[i])
            wall, of_cpu = time.perf_counter() - wall, time.process_time() - of_cpu
            taken[name].append(Taken(wall, of_cpu))
        parts.append(ours(jpegs[i]).seconds)
    measured = {name: values[WARM_UP:] for name, values in taken.items()}
    return Row(f"{saved.info.network}, {precision}", size, measured, parts[WARM_UP:])


def makers(
    street: OpenBundle, network: Network, size: Size
) -> dict[str, Callable[[bytes, np.ndarray], object]]:
    """The ways a frame may go, by name: each is given its JPEG, and its labels for the limit."""
    x = np.random.default_rng(0).normal(size=(1, 3, *size)).astype(np.float32)

    def limit(jpeg: bytes, labels: np.ndarray) -> object:
        return decode(jpeg), network(x), encode_png(labels)

    def library(jpeg: bytes, _: np.ndarray) -> object:
        return encode_png(street.segment(jpeg).labels)

    def segment(jpeg: bytes, _: np.ndarray) -> object:
        image = decode(jpeg)
        labels = street.segment(image).labels
        return encode_png(labels), encode_jpeg(overlay(image, labels, street.palette))

    return {"limit": limit, "library": library, "segment": segment}


def table(rows: list[Row]) -> Iterator[str]:
    """What each way took, and how it stands to the limit."""
    yield f"The goal is {GOAL:g} of the limit for the library."
    yield ""
    yield "| ms | limit | library | of the limit | in CPU time | segment | of the limit | |"
    yield "|---" * 8 + "|"
    for one in rows:
        limit, library, segment = map(one.times, ("limit", "library", "segment"))
        ratio, of_cpu = np.median(library / limit, axis=0)
        whole = np.median(segment / limit, axis=0)[0]
        cells = [ms(limit[:, 0]), ms(library[:, 0]), f"{ratio:.3f}", f"{of_cpu:.3f}"]
        cells += [ms(segment[:, 0]), f"{whole:.3f}", "met" if ratio <= GOAL else "**missed**"]
        yield f"| {one.name}, worked at {one.size[0]}x{one.size[1]} | " + " | ".join(cells) + " |"


def steps(rows: list[Row]) -> Iterator[str]:
    """The library's way in its steps."""
    yield f"| ms | {' | '.join(Seconds._fields)} |"
    yield "|---" * (len(Seconds._fields) + 1) + "|"
    for one in rows:
        cells = [ms(np.array(column)) for column in zip(*one.steps, strict=True)]
        yield f"| {one.name} | " + " | ".join(cells) + " |"


def ms(seconds: np.ndarray) -> str:
    """The median in milliseconds."""
    return f"{1e3 * float(np.median(seconds)):.1f}"


def frames(data: Path) -> tuple[list[bytes], str]:
    """JPEGs of 1024x2048, and what they are: a clip's, or one frame again and again."""
    if found := sorted((data / "clip").glob("*.jpg")):
        return [path.read_bytes() for path in found], f"the {len(found)} frames of `clip`"
    shot = frame_shot(data)
    return [shot.jpeg] * 30, f"30 times {shot.about}"


def head(asked: argparse.Namespace, about: str) -> Iterator[str]:
    """What was measured, where, and when."""
    yield HOW
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    yield f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {cpu()}, one core of {os.cpu_count()}; load of"
    yield f"the machine at the end: {os.getloadavg()[0]:.1f}."
    yield f"Python {platform.python_version()}, {versions}."
    yield f"Frames: {about}, {asked.frames} of them. Made by"
    yield f"`python bench/latency.py {' '.join(run.name for run in asked.runs)}`."
    yield ""


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--bundles", type=Path, default=Path("runs/deploy/bundles"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    return parser


if __name__ == "__main__":
    main()
