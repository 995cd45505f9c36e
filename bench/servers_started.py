"""The servers that bench/servers.py measures, and what each is asked."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from servers_load import Asked, Load, load

from export.bundle import read_bundle
from roadshift import hxw

SIDES = Path(__file__).with_name("servers_sides.py")
OTHERS = {
    "fastapi": "FastAPI, a thread a request",
    "litserve": "LitServe",
    "mosec": "MOSEC",
    "ray": "Ray Serve",
}
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n'
    b"Content-Type: image/jpeg\r\n\r\n%s\r\n--b--\r\n"
)


class Server:
    """A server in a process of its own, and what it is asked."""

    def __init__(self, name: str, command: list[str], port: int, asked: Asked) -> None:
        self.name, self.port, self._asked = name, port, asked
        self._command = command

    @contextmanager
    def running(self) -> Generator[Server]:
        """So long it runs, with all that it starts; SystemExit unless it soon answers."""
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, start_new_session=True
        )
        try:
            self._wait()
            yield self
        finally:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(20)
            with suppress(ProcessLookupError):  # some leave their workers behind
                os.killpg(self._process.pid, signal.SIGKILL)

    def measure(self, clients: int, seconds: int) -> Load:
        """Clients against it."""
        return load(self._process.pid, self.port, self._asked, clients, seconds)

    def _wait(self) -> None:
        end, asked = time.monotonic() + 120, self._asked
        while self._process.poll() is None and time.monotonic() < end:
            with suppress(OSError):
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
                connection.request("POST", asked.path, asked.body, asked.headers)
                if connection.getresponse().status == 200:
                    return
            time.sleep(0.2)
        raise SystemExit(f"{self.name} did not start (exit code {self._process.returncode})")


class Given(NamedTuple):
    """What all are asked: a file's bytes, and the size where they are an image's own bytes."""

    data: bytes
    size: tuple[int, int] | None

    @property
    def form(self) -> str:
        """As bench/servers_sides.py calls it."""
        return hxw(self.size) if self.size else "jpeg"

    def by_protocol(self, model: str) -> Asked:
        """Of the Open Inference Protocol, with binary tensors."""
        shape = [1, *(self.size or ()), 3]
        parameters = {"binary_data_size": len(self.data)}
        image = {"name": "image", "datatype": "UINT8", "shape": shape, "parameters": parameters}
        labels = {"name": "labels", "parameters": {"binary_data": True}}
        document = json.dumps({"inputs": [image], "outputs": [labels]}).encode()
        headers = {"Inference-Header-Content-Length": str(len(document))}
        return Asked(f"/v2/models/{model}/infer", document + self.data, headers)

    def of(self, side: str) -> Asked:
        """Of another server."""
        if side == "litserve":
            headers = {"Content-Type": "multipart/form-data; boundary=b"}
            return Asked("/predict", FORM % self.data, headers)
        path = "/inference" if side == "mosec" else "/predict"
        return Asked(path, self.data, {"Content-Type": "application/octet-stream"})


def bare(python: str, graph: Path, given: Given, clients: int, seconds: int) -> Load:
    """The same calls without a server."""
    file = graph.with_name("given")
    file.write_bytes(given.data)
    command = [python, str(SIDES), "bare", str(graph), given.form, str(file), str(clients)]
    command.append(str(seconds))
    return Load(**json.loads(subprocess.run(command, capture_output=True, check=True).stdout))


def ours(bundle: Path, given: Given) -> list[Server]:
    """This server by both routes."""
    found: list[Server] = []
    asked = Asked("/segment", given.data, {"Content-Type": "image/jpeg"})
    if given.size:
        asked = given.by_protocol(read_bundle(bundle).name)
    for name, route in (("roadshift", "dense"), ("roadshift, its own route", "auto")):
        port = free_port()
        command = [sys.executable, "-m", "roadshift", "serve", str(bundle), "--port", str(port)]
        command += ["--route", route, *"--waiting 64 --pixels 100000000".split()]
        found.append(Server(name, command, port, asked))
    return found


def others(python: str, graph: Path, given: Given) -> list[Server]:
    """Those that can take part."""
    found: list[Server] = []
    for side, name in OTHERS.items():
        module = "ray.serve" if side == "ray" else side
        check = [python, "-c", f"import onnxruntime, cv2, {module}"]
        if subprocess.run(check, capture_output=True, check=False).returncode:
            print(f"{name} is not installed for {python}: left out", flush=True)
            continue
        port = free_port()
        own = SIDES.with_name(f"servers_{side}.py")
        start = [str(own)] if own.exists() else [str(SIDES), side]
        command = [python, *start, str(graph), given.form, str(port)]
        found.append(Server(name, command, port, given.of(side)))
    return found


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
