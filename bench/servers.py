"""Requests a second of this server and others, beside the same calls without any server.

    python bench/servers.py BUNDLE [IMAGE.jpg] [--clients 1 4 16] [--seconds 10] [--rounds 3]
        [--tensors] [--python PYTHON] [--out bench/results/servers.md]

JPEG in, PNG of labels out, on CPUs; with --tensors the image's bytes in and those of its labels
out, ours by the Open Inference Protocol. All run the same ONNX graph, and our server once more by
the route that it takes by itself; each round starts and measures all of them in turn, each after
the limit that it is compared with. Needs Linux, and wrk, which is the client; what is under way
when its seconds end does not count. Other servers (FastAPI, LitServe, MOSEC, Ray Serve) take part
where PYTHON has them (by default the one that runs this).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import defaultdict
from datetime import date
from pathlib import Path
from statistics import median
from typing import TypeAlias

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
Cell: TypeAlias = tuple[int, str]
"""So many clients, and a server's name."""


def row(clients: int, name: str, loads: list[Load], limits: list[Load]) -> list[str]:
    """A line of the table: medians over the rounds, percentiles over all answers.

    The limits are those just before each of the loads.
    """
    took = [each for one in loads for each in one.took]
    if not took:
        raise SystemExit(f"{name} had no answer in {loads[0].seconds:.0f} s: measure for longer")
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
    servers = [*ours(options.bundle, given), *others(options.python, graph, given)]
    loads, limits = defaultdict[Cell, list[Load]](list), defaultdict[Cell, list[Load]](list)
    for each in range(options.rounds):
        for server in servers:
            for clients in options.clients:  # just before it: the machine's own speed changes
                limit = bare(options.python, graph, given, clients, options.seconds)
                limits[clients, server.name].append(limit)
            with server.running():
                for clients in options.clients:
                    found = server.measure(clients, options.seconds)
                    loads[clients, server.name].append(found)
                    print(f"round {each}, {server.name}, {clients}: {found.rate:.2f}", flush=True)
    rows: list[list[str]] = []
    for clients in options.clients:
        cells = [(clients, server.name) for server in servers]
        limit = [each for cell in cells for each in limits[cell]]
        rows.append(row(clients, LIMIT, limit, limit))
        rows += [row(*cell, loads[cell], limits[cell]) for cell in cells]
    return rows


def main() -> None:
    """Reads the command line, measures, writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("image", type=Path, nargs="?")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--seconds", type=int, default=10)
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
            f"{options.rounds} rounds of {options.seconds} s, "
            f"{'binary tensors' if options.tensors else 'JPEG to PNG'}, {date.today()}."
        )
        options.out.write_text(f"{about}\n\n{table}\n")


if __name__ == "__main__":
    main()
