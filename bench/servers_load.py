"""wrk, which asks a server on and on, and what the server's processes use meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

SCRIPT = Path(__file__).with_suffix(".lua")
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


def load(pid: int, port: int, asked: Asked, clients: int, seconds: int) -> Load:
    """wrk asks on and on over `clients` connections; SystemExit where it is not installed."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed: it is the client (apt-get install wrk)")
    headers = "\n".join(f"{name}: {value}" for name, value in asked.headers.items())
    with tempfile.NamedTemporaryFile() as body:
        body.write(asked.body)
        body.flush()
        command = ["wrk", "--threads", "1", "--connections", str(clients), "--duration"]
        command += [f"{seconds}s", "--timeout", "600s", "--script", str(SCRIPT)]
        command.append(f"http://127.0.0.1:{port}{asked.path}")
        told = os.environ | {"BODY": body.name, "HEADERS": headers}
        before = cpu_seconds(pid)
        said = subprocess.run(command, env=told, capture_output=True, text=True, check=True).stdout
    used = cpu_seconds(pid) - before
    found = json.loads(said.splitlines()[-1])
    return Load(**found, cpu_seconds=used, memory=memory(pid))


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
        with suppress(FileNotFoundError):  # threads come and go
            for child in (task / "children").read_text().split():
                yield from _tree(int(child))
