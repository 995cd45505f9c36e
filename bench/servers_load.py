"""Clients that ask a server on and on, and what its processes use meanwhile."""

from __future__ import annotations

import http.client
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

TICKS = os.sysconf("SC_CLK_TCK")


class Asked(NamedTuple):
    """A request that is sent again and again."""

    path: str
    body: bytes
    headers: dict[str, str]


@dataclass
class Load:
    """What came of some seconds with so many clients."""

    seconds: float = 0.0
    """How long it took until the last one was answered."""
    took: list[float] = field(default_factory=list)
    """The seconds of each answer with status 200."""
    refused: int = 0
    cpu_seconds: float = 0.0
    memory: int = 0
    """Bytes at the end; what processes share is counted once (PSS)."""

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.took) / self.seconds


def load(pid: int, port: int, asked: Asked, clients: int, seconds: float) -> Load:
    """`clients` threads ask on and on, each on a connection of its own."""
    found, before = Load(), cpu_seconds(pid)
    began = time.perf_counter()
    threads = [
        threading.Thread(target=_ask, args=(found, port, asked, began + seconds))
        for _ in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found.seconds = time.perf_counter() - began
    found.cpu_seconds = cpu_seconds(pid) - before
    found.memory = memory(pid)
    return found


def _ask(found: Load, port: int, asked: Asked, end: float) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    while (began := time.perf_counter()) < end:
        connection.request("POST", asked.path, asked.body, asked.headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status == 200:
            found.took.append(time.perf_counter() - began)
        else:
            found.refused += 1
    connection.close()


def cpu_seconds(pid: int) -> float:
    """What a process and those that it started have used so far."""
    total = 0
    for each in _tree(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def memory(pid: int) -> int:
    """Bytes that a process and those that it started hold."""
    lines = [
        line
        for each in _tree(pid)
        for line in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
    ]
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from _tree(int(child))
