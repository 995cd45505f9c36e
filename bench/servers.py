"""Requests a second of this server and others, beside the same calls without any server.

    python bench/servers.py BUNDLE [IMAGE.jpg] [--clients 1 4 16] [--seconds 10] [--rounds 3]
        [--python PYTHON] [--out bench/results/servers.md]

JPEG in, PNG of labels out, on CPUs. All run the same ONNX graph, and our server once more by the
route that it takes by itself; each round measures all of them in turn, so that what else the
machine does meets all alike. Other servers (FastAPI, LitServe, MOSEC) take part where PYTHON has
them (by default the one that runs this). Needs Linux.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from datetime import date
from pathlib import Path
from statistics import median

import numpy as np
import onnx
from deploy_setup import cpu
from serve_overhead import drawn
from servers_load import Asked, Load, load

from export.bundle import read_bundle
from serve.media.codec import encode_jpeg
from serve.runtime.engine import Engine

SIDES = Path(__file__).with_name("servers_sides.py")
OTHERS = {"fastapi": "FastAPI, a thread a request", "litserve": "LitServe", "mosec": "MOSEC"}
LIMIT = "no server (the limit)"
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n'
    b"Content-Type: image/jpeg\r\n\r\n%s\r\n--b--\r\n"
)


class Server:
    """A server in a process of its own, and what it is asked."""

    def __init__(self, name: str, command: list[str], port: int, asked: Asked) -> None:
        self.name, self.port, self.asked = name, port, asked
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)

    def wait(self) -> None:
        """Until it answers; ends this program when it does not within two minutes."""
        end = time.monotonic() + 120
        while self.process.poll() is None and time.monotonic() < end:
            with suppress(OSError):
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
                headers = {"Content-Type": self.asked.content_type}
                connection.request("POST", self.asked.path, self.asked.body, headers)
                if connection.getresponse().status == 200:
                    return
            time.sleep(0.2)
        raise SystemExit(f"{self.name} did not start (exit code {self.process.returncode})")

    def measure(self, clients: int, seconds: float) -> Load:
        """Clients against it."""
        return load(self.process.pid, self.port, self.asked, clients, seconds)

    def stop(self) -> None:
        """Ends it and what it has started."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        with suppress(ProcessLookupError):  # some leave their workers behind
            os.killpg(self.process.pid, signal.SIGKILL)


def bare(python: str, graph: Path, image: Path, clients: int, seconds: float) -> Load:
    """The same calls without a server."""
    command = [python, str(SIDES), "bare", str(graph), str(image), str(clients), str(seconds)]
    return Load(**json.loads(subprocess.run(command, capture_output=True, check=True).stdout))


def servers(options: argparse.Namespace, graph: Path, jpeg: bytes) -> list[Server]:
    """All that can take part, started."""
    found: list[Server] = []
    plain = Asked("/segment", jpeg, "image/jpeg")
    more = "--waiting 64 --pixels 100000000".split()
    for name, route in (("roadshift", "dense"), ("roadshift, its own route", "auto")):
        port = free_port()
        command = [sys.executable, "-m", "roadshift", "serve", str(options.bundle), "--port"]
        command += [str(port), "--route", route, *more]
        found.append(Server(name, command, port, plain))
    for side, name in OTHERS.items():
        check = [options.python, "-c", f"import onnxruntime, cv2, {side}"]
        if subprocess.run(check, capture_output=True, check=False).returncode:
            print(f"{name} is not installed for {options.python}: left out", flush=True)
            continue
        port, asked = free_port(), Asked("/predict", jpeg, "image/jpeg")
        if side == "litserve":
            asked = Asked("/predict", FORM % jpeg, "multipart/form-data; boundary=b")
        if side == "mosec":
            asked = Asked("/inference", jpeg, "image/jpeg")
        own = SIDES.with_name(f"servers_{side}.py")
        start = [str(own)] if own.exists() else [str(SIDES), side]
        command = [options.python, *start, str(graph), str(port)]
        found.append(Server(name, command, port, asked))
    return found


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


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
    jpeg = options.image.read_bytes() if options.image else encode_jpeg(drawn())
    image, graph = folder / "image.jpg", folder / "labels.onnx"
    image.write_bytes(jpeg)
    engine = Engine(read_bundle(options.bundle), route="dense")
    onnx.save(engine.sessions.graph(["labels"]), graph)
    del engine
    rows: list[list[str]] = []
    with ExitStack() as stack:
        running = servers(options, graph, jpeg)
        for server in running:
            stack.callback(server.stop)
        for server in running:
            server.wait()
        for clients in options.clients:
            loads: dict[str, list[Load]] = {}
            for _ in range(options.rounds):
                limit = bare(options.python, graph, image, clients, options.seconds)
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
            f"{options.rounds} rounds of {options.seconds:g} s, {date.today()}."
        )
        options.out.write_text(f"{about}\n\n{table}\n")


if __name__ == "__main__":
    main()
