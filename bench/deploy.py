"""The deployed function beside what people do today: every route, stage by stage, in one process.

    PYTHONPATH=. python bench/deploy.py runs/deploy/lraspp_mobilenet_v2 runs/deploy/pidnet_s

Makes a run's bundle (fp32 and int8) when there is none in --bundles, or an older one than the
run's checkpoint. OpenVINO is measured where it is installed. Writes bench/results/deploy.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from deploy_ours import Floor, Ours, halves
from deploy_routes import (
    RUNTIMES,
    Bare,
    Network,
    Pixels,
    Route,
    Seconds,
    Size,
    Torch,
    WithNumpy,
    float_graph,
    onnx_runtime,
)
from deploy_setup import FRAME, Shot, bundle_of, cpu, frame_shot, say, version
from deploy_table import HOW, Measured, section

from adapt.checkpoint import read
from export.bundle import Bundle
from roadshift import Failure, UserError, replacing
from serve.runtime.engine import Engine

RESULTS = Path(__file__).parent / "results" / "deploy.md"
WARM_UP, LEAST_ROUNDS = 2, 3
PAUSE = 0.05
PACKAGES = ("torch", "onnxruntime", "opencv-python-headless", "openvino", "numpy", "onnx")
Maker = Callable[[], Route]


def main() -> None:
    """Measure every run, and write the page once all are done."""
    asked = options().parse_args()
    torch.set_num_threads(asked.threads)
    cv2.setNumThreads(asked.threads)
    load = os.getloadavg()[0]
    shot = frame_shot(asked.data)
    lines = list(head(asked, shot, load))
    for run in asked.runs:
        say(f"{run}:")
        try:
            lines += section(measure(run, shot, asked))
        except (UserError, Failure) as error:
            lines += [f"## {run.name}", "", f"Not measured: {error}", ""]
    RESULTS.parent.mkdir(exist_ok=True)
    with replacing(RESULTS) as part:
        part.write_text("\n".join(lines))
    print("\n".join(lines))


def measure(run: Path, shot: Shot, asked: argparse.Namespace) -> Measured:
    """All routes of one run; raises UserError for a run without a checkpoint."""
    saved = read(run)
    size = saved.info.work_size or FRAME
    missing: dict[str, str] = {}
    bundle = bundle_of(run, asked.bundles / run.name, asked.data, missing)
    bare = Bare(saved.segmentor)
    makers = dict(routes(bundle, bare, size, asked.threads))
    ready, labels = tried(makers, shot.jpeg, missing)
    wanted = labels["torch eager"]  # a network that torch cannot run was never trained
    agreement = {
        name: float(np.mean(found == wanted)) for name, found in labels.items() if found is not None
    }
    rows = in_turns(ready, shot.jpeg, asked.rounds, asked.seconds)
    return Measured(saved.info.network, size, rows, agreement, missing, bundle.checks["precisions"])


def routes(bundle: Bundle, bare: Bare, size: Size, threads: int) -> Iterator[tuple[str, Maker]]:
    """How every route is made, by name; making one may fail."""
    graph = float_graph(bare, size)
    for precision in bundle.precisions:
        if precision != "fp16":  # a CPU computes it in float32
            yield f"ours, {precision}", partial(_ours, bundle, precision, size, threads)
    for compiled in (False, True):
        name = "torch.compile" if compiled else "torch eager"
        yield name, partial(Torch, bare, size, compiled=compiled)
    for name, runtime in RUNTIMES.items():
        yield name, partial(_with_numpy, partial(runtime, graph, threads), bare, size)
    yield "floor, fp32", partial(_floor, bundle, lambda: graph, size, threads)
    if "int8" in bundle.precisions:
        int8 = partial(_int8_network, bundle, size, threads)
        yield "floor, int8", partial(_floor, bundle, int8, size, threads)


def _ours(bundle: Bundle, precision: str, size: Size, threads: int) -> Route:
    engine = Engine(bundle, precision=precision, threads=threads)
    return Ours(engine, onnx_runtime(_halves(engine, size)[0], threads))


def _halves(engine: Engine, size: Size) -> tuple[bytes, bytes]:
    return halves(engine.sessions.graph(["logits"]), size)


def _int8_network(bundle: Bundle, size: Size, threads: int) -> bytes:
    return _halves(Engine(bundle, precision="int8", threads=threads), size)[1]


def _floor(bundle: Bundle, network: Callable[[], bytes], size: Size, threads: int) -> Route:
    x = np.random.default_rng(0).normal(size=(1, 3, *size)).astype(np.float32)
    golden = bundle.golden()[0].labels
    labels = cv2.resize(golden, FRAME[::-1], interpolation=cv2.INTER_NEAREST).astype(np.uint8)
    return Floor(onnx_runtime(network(), threads), x, labels)


def _with_numpy(runtime: Callable[[], Network], bare: Bare, size: Size) -> Route:
    return WithNumpy(runtime(), bare, size)


def tried(
    makers: dict[str, Maker], jpeg: bytes, missing: dict[str, str]
) -> tuple[dict[str, Route], dict[str, Pixels | None]]:
    """The routes that can be made and take a frame, with their labels; the others' errors go into
    `missing`."""
    ready: dict[str, Route] = {}
    labels: dict[str, Pixels | None] = {}
    for name, make in makers.items():
        began = time.perf_counter()
        try:
            route = make()
            labels[name] = route(jpeg).labels
        except ModuleNotFoundError as error:
            missing[name] = f"{error.name} is not installed"
        except Exception as error:  # another runtime's, whatever it is
            missing[name] = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        else:
            ready[name] = route
            say(f"  {name}: ready after {time.perf_counter() - began:.1f} s")
    for name, why in missing.items():
        say(f"  {name}: {why}")
    return ready, labels


def in_turns(
    ready: dict[str, Route], jpeg: bytes, rounds: int, seconds: float
) -> dict[str, list[Seconds]]:
    """What each took in each round; fewer rounds where they would take longer than `seconds`."""
    rows: dict[str, list[Seconds]] = {name: [] for name in ready}
    turns = random.Random(0)
    began = time.perf_counter()
    for i in range(WARM_UP + rounds):
        for name in turns.sample(list(ready), len(ready)):  # whose neighbour one is must not count
            time.sleep(PAUSE)
            taken = ready[name](jpeg).seconds
            if i >= WARM_UP:
                rows[name].append(taken)
        if i + 1 >= WARM_UP + LEAST_ROUNDS and time.perf_counter() - began > seconds:
            break
    return rows


def head(asked: argparse.Namespace, shot: Shot, load: float) -> Iterator[str]:
    """What was measured, where, and when."""
    yield "# A frame from JPEG to labels, by route"
    yield ""
    yield HOW.format(pause=1e3 * PAUSE, warm_up=WARM_UP)
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    yield f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {cpu()}, {os.cpu_count()} cores, of which every"
    yield f"route has {asked.threads}; load of the machine before: {load:.1f}."
    yield f"Python {platform.python_version()}, {versions}."
    yield f"The frame: {shot.about}."
    yield f"Made by `python bench/deploy.py {' '.join(map(str, asked.runs))}`."
    yield ""


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=120, help="of rounds, for each network")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bundles", type=Path, default=Path("runs/deploy/bundles"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    return parser


if __name__ == "__main__":
    main()
