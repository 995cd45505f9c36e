"""How long others wait while clients misbehave: the server of one or more trees of the code.

    python bench/attacks.py [before=/an/older/checkout now=.] [--out bench/results/attacks.md]

Each tree's server runs in a process of its own with a graph that takes a second or so for a frame
of 1024x2048, on the same bundle, one after the other. Needs onnx and httpx, and Linux.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path

import cv2
import httpx
import numpy as np
from deploy_setup import cpu
from serve_overhead import drawn, trivial_bundle

from serve.media.codec import encode_jpeg, encode_png

HEAD = "POST /segment HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
SERVE = "-m roadshift serve"
SMALL = encode_png(np.zeros((8, 8), np.uint8))
LIMIT = 60.0
"""Seconds after which a wait is called endless."""


@dataclass
class Running:
    """A server under attack."""

    process: subprocess.Popen[str]
    port: int
    log: Path

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def dial(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT)

    def answered(self, seconds: float = LIMIT) -> float | None:
        """Seconds until a small image of somebody else is answered, asked for again and again."""
        began = time.perf_counter()
        while (left := began + seconds - time.perf_counter()) > 0:
            try:
                answer = httpx.post(
                    f"{self.address}/segment",
                    content=SMALL,
                    headers={"Content-Type": "image/png"},
                    timeout=left,
                )
                if answer.status_code == 200:
                    return time.perf_counter() - began
            except httpx.HTTPError:
                pass
            time.sleep(0.05)
        return None


@contextmanager
def serving(tree: Path, bundle: Path, folder: Path, more: str = "") -> Generator[Running]:
    """That tree's server, ready, with `more` options."""
    log = folder / "log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [
                *("bash", "-c"),
                f'ulimit -n 1024; exec "{sys.executable}" {SERVE} "{bundle}" --port 0 {more}',
            ],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": f"{tree}:{os.environ.get('PYTHONPATH', '')}"},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", said)
        assert found, said + log.read_text()
        running = Running(process, int(found[1]), log)
        while httpx.get(f"{running.address}/v2/health/ready").status_code != 200:
            time.sleep(0.1)
        yield running
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def bombs(server: Running) -> list[str]:
    """Nine progressive JPEGs of 4096x4096 with 600 extra scans."""
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
    data = cv2.imencode(".jpg", np.full((4096, 4096, 3), 90, np.uint8), options)[1].tobytes()
    ends = [found.start() for found in re.finditer(b"\xff\xda", data)] + [len(data) - 2]
    scans = [data[start:end] for start, end in pairwise(ends)]
    # T.81, B.2.3: one component, the first, and of it no constant part.
    luma = [scan for scan in scans if scan[4:6] == b"\x01\x01" and scan[7] > 0]
    bomb = data[:-2] + luma[-1] * 600 + b"\xff\xd9"
    took: list[float] = []

    def send(query: str) -> None:
        began = time.perf_counter()
        headers = {"Content-Type": "image/jpeg"}
        httpx.post(
            f"{server.address}/segment{query}", content=bomb, headers=headers, timeout=10 * LIMIT
        )
        took.append(time.perf_counter() - began)

    threads = [threading.Thread(target=send, args=("?timeout=1000000",)) for _ in range(9)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    waited = server.answered(5 * LIMIT)
    for thread in threads:
        thread.join()
    return [seconds(waited, 5 * LIMIT), seconds(max(took), 10 * LIMIT)]


def slow_bodies(server: Running) -> list[str]:
    """Nine clients at one byte a second."""
    with ExitStack() as stack:
        plugs = [stack.enter_context(server.dial()) for _ in range(9)]
        stop = threading.Event()

        def trickle() -> None:
            for plug in plugs:
                plug.sendall(f"{HEAD}Content-Length: 1000\r\n\r\n".encode())
            while not stop.wait(1):
                for plug in plugs:
                    try:
                        plug.sendall(b"\xff")
                    except OSError:
                        continue

        thread = threading.Thread(target=trickle)
        thread.start()
        time.sleep(1)
        waited = server.answered(2 * LIMIT)
        stop.set()
        thread.join()
    return [seconds(waited, 2 * LIMIT)]


def half_open(server: Running) -> list[str]:
    """1,100 connections that send nothing, for 20 s; the server may open 1,024 files."""
    before = server.log.stat().st_size
    with ExitStack() as stack:
        for _ in range(1100):
            stack.enter_context(server.dial())
        waited = server.answered(20)
        time.sleep(max(0.0, 20 - (waited or 20)))
        grown = server.log.stat().st_size - before
    return [seconds(waited, 20), f"{grown / 1e6:.2f} MB"]


def after_413(server: Running) -> list[str]:
    """An endless chunked body, sent on for 10 s after it was refused."""
    chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    sent, began = 0, time.perf_counter()
    with server.dial() as plug:
        plug.sendall(f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode())
        try:
            while time.perf_counter() - began < 10:
                plug.sendall(chunk)
                sent += len(chunk)
        except OSError:
            pass
    return [f"{sent / 1e9:.2f} GB"]


def left(server: Running) -> list[str]:
    """Nine JPEG frames of 1024x2048 sent; the clients leave while the first one runs."""
    frame = encode_jpeg(drawn(), 60)
    head = f"{HEAD}Content-Length: {len(frame)}\r\n\r\n".encode()

    def refused() -> bool:
        path, kind = "/segment?timeout=1", {"Content-Type": "image/png"}
        answer = httpx.post(server.address + path, content=SMALL, headers=kind, timeout=LIMIT)
        return answer.status_code == 429

    with ExitStack() as stack:
        for _ in range(9):
            stack.enter_context(server.dial()).sendall(head + frame)
        while not refused():
            time.sleep(0.05)
    began = time.perf_counter()
    while refused():
        time.sleep(0.05)
    return [seconds(time.perf_counter() - began, LIMIT)]


def ordinary(server: Running) -> list[str]:
    """No attack."""
    return [seconds(server.answered(), LIMIT)]


ATTACKS: tuple[tuple[Callable[[Running], list[str]], tuple[str, ...]], ...] = (
    (ordinary, ("no attack: another client's small image is answered within",)),
    (
        bombs,
        (
            "9 JPEGs of 100 kB with 600 extra scans: another client is answered within",
            "the slowest of them, with a timeout of 1 s, is answered within",
        ),
    ),
    (slow_bodies, ("9 bodies at one byte a second: another client is answered within",)),
    (
        half_open,
        (
            "1,100 silent connections: another client is answered within",
            "the log grows in 20 s by",
        ),
    ),
    (after_413, ("an endless body, refused with 413: taken in 10 s",)),
    (left, ("9 clients leave while the first is worked for: others are refused for",)),
)


def seconds(value: float | None, most: float) -> str:
    """A time for the table."""
    return f"more than {most:.0f} s" if value is None else f"{value:.2f} s"


def commit(tree: Path) -> str:
    """Which commit is checked out there."""
    asked = ["git", "-C", str(tree), "rev-parse", "--short", "HEAD"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    """Reads the command line, attacks each tree's server, writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("trees", nargs="*", default=["now=."], metavar="NAME=FOLDER")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    named = (tree.partition("=") for tree in options.trees)
    trees = {name: Path(folder).resolve() for name, _, folder in named}
    columns: list[list[str]] = []
    with tempfile.TemporaryDirectory() as folder:
        bundle = trivial_bundle(Path(folder) / "bundle", name="slow", pooled=31).folder
        for name, tree in trees.items():
            column: list[str] = []
            for attack, _ in ATTACKS:  # a fresh server each, or one attack's damage is the next's
                with serving(tree, bundle, Path(folder)) as server:
                    column += attack(server)
                print(name, attack.__name__, column[-1], flush=True)
            columns.append(column)
    rows = [text for _, texts in ATTACKS for text in texts]
    here = Path.cwd()
    heads = [name if at == here else f"{name} ({commit(at)})" for name, at in trees.items()]
    lines = [f"| {' | '.join(['', *heads])} |", "|---" * (1 + len(trees)) + "|"]
    lines += [f"| {' | '.join(cells)} |" for cells in zip(rows, *columns, strict=True)]
    table = "\n".join(lines)
    print(table)
    if options.out:
        about = (
            f"`python bench/attacks.py`: {cpu()}, {os.cpu_count()} cores, each server with 1,024 "
            f"descriptors and a graph that takes seconds for a frame, {date.today()}."
        )
        options.out.write_text(f"{about}\n\n{table}\n")


if __name__ == "__main__":
    main()
