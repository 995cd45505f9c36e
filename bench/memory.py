"""What frames take of memory, and what is left of it: as ONNX Runtime does by itself, and as we do.

    python bench/memory.py BUNDLE...

Each column is a process of its own with one thread, given the same frames one after the other as a
server gives them; then a server. Writes bench/results/memory.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import onnxruntime
from deploy_setup import cpu, version
from numpy.typing import NDArray

from export.bundle import read_bundle
from roadshift import replacing
from serve.library import OpenBundle
from serve.media.codec import encode_jpeg, encode_png
from serve.runtime import graph, sessions
from serve.runtime.engine import Engine
from serve.runtime.graph import Graph
from serve.runtime.working_memory import WorkingMemory

RESULTS = Path(__file__).parent / "results" / "memory.md"
HOW = """\
# Memory for a frame, and after it

MB resident (Linux' VmRSS and VmHWM) of a process with one thread, given these frames in this order
as image files: `left` after the frame, `peak` while it was worked on, decoding included; `ms` is
CPU time, the least of the frame's runs. **before**: ONNX Runtime's arena keeps all that was ever
needed, the confidence comes of the upsampled logits of all classes, a batch runs at once. **ours**:
the confidence comes of some rows at a time, batches run in parts, the arena is given back after a
frame of another size than the one before, and frames of more than 1024x2048, and than any that the
bundle knows, run without one, in a session of their own that the first of them has to load.
"""


@dataclass(frozen=True)
class Step:
    """`runs` times `n` frames of this size, and whether their confidence is wanted."""

    height: int
    width: int
    n: int = 1
    confidence: bool = False
    runs: int = 1

    def __str__(self) -> str:
        several = f"{self.n} frames of " if self.n > 1 else ""
        return f"{several}{self.height}x{self.width}{', confidence' if self.confidence else ''}"


USUAL = Step(1024, 2048, runs=3)
SERIES = (
    USUAL,
    Step(1024, 2048, confidence=True, runs=3),
    Step(2048, 2048),
    Step(4096, 4096),
    USUAL,
    Step(4096, 4096, confidence=True),
    Step(32, 32, n=24),
    USUAL,
)
SMALL = tuple(step for step in SERIES if step.height < 4096)
"""For a network that works at the frame's size, whose layers alone take gigabytes of 4096x4096."""


def main() -> None:
    """Measure every bundle and write the page; or, in a process of its own, one column."""
    asked = options().parse_args()
    if asked.column:
        print(json.dumps(column(asked.bundles[0], before=asked.column == "before")))
        return
    lines = list(head())
    for folder in asked.bundles:
        print(f"{folder}", file=sys.stderr, flush=True)
        before, ours = (apart(folder, name) for name in ("before", "ours"))
        lines += section(folder, before, ours)
        lines += list(server(folder))
    with replacing(RESULTS) as part:
        part.write_text("\n".join(lines))
    print("\n".join(lines))


def series(folder: Path) -> Sequence[Step]:
    """The frames for a bundle."""
    return SERIES if read_bundle(folder).provenance.get("work_size") else SMALL


class Before(Engine):
    """As it was: the confidence comes of the graph."""

    def answers(self, values: NDArray[np.uint8], wanted: Sequence[str]) -> dict[str, NDArray[Any]]:
        of = Graph if "confidence" in wanted else Engine
        return of.answers(self, values, wanted)


class Keeping(WorkingMemory):
    """As ONNX Runtime does by itself."""

    def is_usual(self, shape: Sequence[int]) -> bool:  # noqa: ARG002
        return True

    def options(self, shape: Sequence[int]) -> Any:  # noqa: ARG002
        return onnxruntime.RunOptions()


def column(folder: Path, *, before: bool) -> list[list[float]]:
    """MB left, MB at the peak and least CPU milliseconds of each step, after a row for none."""
    if before:
        graph.AT_ONCE, sessions.WorkingMemory = 1 << 40, Keeping
    engine = (Before if before else Engine)(read_bundle(folder), threads=1)
    street = OpenBundle(engine, 1 << 30)
    cv2.setNumThreads(1)
    found = [[resident("VmRSS"), resident("VmHWM"), 0.0]]
    for step in series(folder):
        file = encode_png(np.zeros((step.height, step.width, 3), np.uint8))
        if step.n == 1:
            file = encode_jpeg(drawn(step))
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
        taken = min(once(street, step, file) for _ in range(step.runs))
        found.append([resident("VmRSS"), resident("VmHWM"), taken])
    return found


def once(street: OpenBundle, step: Step, file: bytes) -> float:
    """CPU milliseconds of a step."""
    began = time.process_time()
    if step.n == 1:
        street.segment(file, confidence=step.confidence)
    else:
        frames = np.zeros((step.n, step.height, step.width, 3), np.uint8)
        street.engine.segment(frames, confidence=step.confidence)
    return 1e3 * (time.process_time() - began)


def drawn(step: Step) -> NDArray[np.uint8]:
    """Smooth blobs, about as hard to compress as a street."""
    small = np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    size = (step.width, step.height)
    return cv2.resize(small, size, interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def resident(key: str, pid: str | int = "self") -> float:
    """MB of a process, by that key of Linux' status."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split(f"{key}:")[1].split()[0]) / 1024


def apart(folder: Path, name: str) -> list[list[float]]:
    """A column, measured in a process of its own."""
    command = [sys.executable, __file__, str(folder), "--column", name]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def section(folder: Path, before: list[list[float]], ours: list[list[float]]) -> Iterator[str]:
    """A bundle's table."""
    bundle = read_bundle(folder)
    work = bundle.provenance.get("work_size")
    at = f"{work[0]}x{work[1]}" if work else "the frame's size"
    yield f"## {bundle.provenance.get('network', bundle.name)}, worked at {at}"
    yield ""
    yield "| | before: left | peak | ms | ours: left | peak | ms |"
    yield "|---" * 7 + "|"
    for name, old, new in zip(("nothing yet", *series(folder)), before, ours, strict=True):
        cells = [f"{value:.0f}" if value else "" for value in (*old, *new)]
        yield f"| {name} | {' | '.join(cells)} |"
    yield ""


def server(folder: Path) -> Iterator[str]:
    """What a server takes for requests of the same kind: lines of the page."""
    command = [sys.executable, "-m", "roadshift", "serve", str(folder), "--port", "0"]
    command += ["--pixels", str(1 << 24), "--threads", "1"]
    yield "`roadshift serve`, the same way (`POST /segment`):"
    yield ""
    yield "| | left | peak |"
    yield "|---|---|---|"
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split(" on ")[1].split()[0]
        with httpx.Client(base_url=address, timeout=300) as client:
            while client.get("/v2/health/ready").status_code != 200:
                time.sleep(0.1)
            yield mb(process.pid, "ready")
            for step in (step for step in series(folder) if step.n == 1):
                Path(f"/proc/{process.pid}/clear_refs").write_text("5")
                for _ in range(step.runs):
                    ask(client, step)
                yield mb(process.pid, str(step))
        process.terminate()
    yield ""


def ask(client: httpx.Client, step: Step) -> None:
    """One request."""
    answer = "confidence" if step.confidence else "labels"
    kind, body = {"Content-Type": "image/jpeg"}, encode_jpeg(drawn(step))
    client.post(f"/segment?as={answer}", content=body, headers=kind).raise_for_status()


def mb(pid: int, name: str) -> str:
    """A line of the server's table."""
    return f"| {name} | {resident('VmRSS', pid):.0f} | {resident('VmHWM', pid):.0f} |"


def head() -> Iterator[str]:
    """What was measured, where, and when."""
    yield HOW
    versions = ", ".join(f"{p} {version(p)}" for p in ("onnxruntime", "numpy"))
    yield f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {cpu()}; {versions}."
    yield ""


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE")
    parser.add_argument("--column", choices=("before", "ours"), help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
