"""What the background self-check costs those who ask: latencies with it and without, in turns.

    python bench/monitor_latency.py BUNDLE IMAGE.jpg [--seconds 10] [--rounds 3]
        [--out bench/results/monitor_latency.md]

BUNDLE has a reconstructor. Three servers of it run side by side, one without self-check, one with
that of every tenth frame, one of every frame; each round asks them one after the other, JPEG in and
PNG of labels out. Frames are looked at only while nobody waits, so the checks are counted too.
Needs Linux, and wrk, which is the client.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import urllib.request
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from statistics import median

import numpy as np
from deploy_setup import cpu
from servers_load import Asked, Load
from servers_started import Server, free_port

EVERY = (0, 10, 1)
COUNTED = re.compile(r"^roadshift_monitor_score_count(?:{.*})? ([\d.e+]+)$", re.MULTILINE)


def server_of(bundle: Path, image: bytes, every: int) -> Server:
    """A server that checks one frame in so many."""
    port = free_port()
    command = [sys.executable, "-m", "roadshift", "serve", str(bundle), "--port", str(port)]
    command += ["--monitor-every", str(every), "--pixels", "100000000"]
    name = f"one frame in {every}" if every else "no self-check"
    return Server(name, command, port, Asked("/segment", image, {"Content-Type": "image/jpeg"}))


def checks(server: Server) -> float:
    """How many frames it has checked."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
        return sum(map(float, COUNTED.findall(answer.read().decode())))


def row(clients: int, name: str, loads: list[Load], looked_at: float) -> list[str]:
    """A line of the table."""
    took = 1e3 * np.array([each for one in loads for each in one.took])
    p50, p99 = np.percentile(took, [50, 99])
    rate = median(one.rate for one in loads)
    share = looked_at / len(took)
    return [str(clients), name, f"{rate:.1f}", f"{p50:.1f}", f"{p99:.1f}", f"{share:.1%}"]


def main() -> None:
    """Reads the command line, measures, writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows: list[list[str]] = []
    with ExitStack() as stack:
        servers = [server_of(options.bundle, options.image.read_bytes(), every) for every in EVERY]
        for server in servers:
            stack.enter_context(server.running())
        for clients in options.clients:
            loads: dict[str, list[Load]] = {server.name: [] for server in servers}
            before = [checks(server) for server in servers]
            for _ in range(options.rounds):
                for server in servers:
                    loads[server.name].append(server.measure(clients, options.seconds))
            for server, count in zip(servers, before, strict=True):
                found = checks(server) - count
                rows.append(row(clients, server.name, loads[server.name], found))
                print(" | ".join(rows[-1]), flush=True)
    heads = ("clients", "self-check of", "answers a second", "p50 ms", "p99 ms", "checked")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    about = (
        f"`python bench/monitor_latency.py`: {options.bundle.name}, {cpu()}, {os.cpu_count()} "
        f"cores, {options.rounds} rounds of {options.seconds} s, {date.today()}."
    )
    table = "\n".join([about, "", *lines, *(f"| {' | '.join(cells)} |" for cells in rows)])
    print(table)
    if options.out:
        options.out.write_text(table + "\n")


if __name__ == "__main__":
    main()
