"""MOSEC with one worker, for bench/servers.py: servers_mosec.py GRAPH.onnx FORM PORT."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

from servers_sides import Labels

library: Any = import_module("mosec")  # installed where this side is measured


class Segment(library.Worker):
    """Bytes in, bytes out."""

    def __init__(self) -> None:
        self.work = Labels(os.environ["GRAPH"], os.environ["FORM"])

    def deserialize(self, data: bytes) -> bytes:
        return data

    def forward(self, data: bytes) -> bytes:
        return self.work(data)

    def serialize(self, data: bytes) -> bytes:
        return data


if __name__ == "__main__":
    os.environ["GRAPH"], os.environ["FORM"], port = sys.argv[1:]
    sys.argv[1:] = ["--port", port, "--address", "127.0.0.1", "--timeout", "600000"]
    server = library.Server()
    server.append_worker(Segment, num=1)
    server.run()
