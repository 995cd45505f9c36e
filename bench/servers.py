"""Requests a second of this server and others, beside the same calls without any server.

    python bench/servers.py BUNDLE [IMAGE.jpg] [--clients 1 4 16] [--seconds 10] [--rounds 3]
        [--tensors] [--python PYTHON] [--out bench/results/servers.md]

JPEG in, PNG of labels out, on CPUs; with --tensors the image's bytes in and those of its labels
out, ours by the Open Inference Protocol. All run the same ONNX graph, and our server once more by
the route that it takes by itself; each round measures all of them in turn, so that what else the
machine does meets all alike. Other servers (FastAPI, LitServe, MOSEC, Ray Serve) take part where
PYTHON has them (by default the one that runs this). Needs Linux.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from statistics import median

import numpy as np
import onnx
from deploy_setup import cpu
from serve_overhead import drawn
from servers_load import Load
from servers_started import Given, bare, others, ours

from export.bundle import read_bundle
from serve.media.codec import decode, encode_jpeg
from serve.runtime.engine import Engine

LIMIT = "no server (the limit)"


def row(clients: int, name: str, loads: list[Load], limits: list[Load]) -> list[str]:
    """A line of the table: medians over the rounds, percentiles over all answers."""
    took = [each for one in loads for each in one.took]
    p50, p95, p99 = (1e3 * np.percentile(took, [50, 95, 99])).round().astype(int)
    ratio = median(one.rate / limit.rate for one, limit in zip(loads, limits, strict=True))
    busy = median(one.cpu_seconds / one.seconds for one in loads) / (os.cpu_count() or 1)
    return [
        str(clients),
        name,
        f"{median(one.rate for one in loads):.2f}",
        f"{ratio:.1%}",
        f"{p50} / {p95} / {p99}",
        f"{busy:.0%}",
        f"{max(one.memory for one in loads) / 1e6:.0f}",
        str(sum(one.refused for one in loads)),
    ]


def measured(options: argparse.Namespace, folder: Path) -> list[list[str]]:
    """The table's lines."""
    data = options.image.read_bytes() if options.image else encode_jpeg(drawn())
    image = decode(data, 100_000_000)
    given = Given(image.tobytes(), image.shape[:2]) if options.tensors else Given(data, None)
    graph = folder / "labels.onnx"
    engine = Engine(read_bundle(options.bundle), route="dense")
    onnx.save(engine.sessions.graph(["labels"]), graph)
    del engine
    rows: list[list[str]] = []
    with ExitStack() as stack:
        running = [*ours(options.bundle, given), *others(options.python, graph, given)]
        for server in running:
            stack.callback(server.stop)
        for server in running:
            server.wait()
        for clients in options.clients:
            loads: dict[str, list[Load]] = {}
            for _ in range(options.rounds):
                limit = bare(options.python, graph, given, clients, options.seconds)
                loads.setdefault(LIMIT, []).append(limit)
                for server in running:
                    found = server.measure(clients, options.seconds)
                    loads.setdefault(server.name, []).append(found)
            for name, each in loads.items():
                rows.append(row(clients, name, each, loads[LIMIT]))
                print(" | ".join(rows[-1]), flush=True)
    return rows


def main() -> None:
    """Reads the command line, measures, writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("image", type=Path, nargs="?")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tensors", action="store_true")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(options, Path(folder))
    heads = "clients,,answers a second,of the limit,p50 / p95 / p99 ms,CPU,MB,refused".split(",")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    table = "\n".join([*lines, *(f"| {' | '.join(cells)} |" for cells in rows)])
    print(table)
    if options.out:
        about = (
            f"`python bench/servers.py`: {cpu()}, {os.cpu_count()} cores, "
            f"{options.rounds} rounds of {options.seconds:g} s, "
            f"{'binary tensors' if options.tensors else 'JPEG to PNG'}, {date.today()}."
        )
        options.out.write_text(f"{about}\n\n{table}\n")


if __name__ == "__main__":
    main()
