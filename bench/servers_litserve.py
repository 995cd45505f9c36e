"""LitServe with one worker, for bench/servers.py: servers_litserve.py GRAPH.onnx FORM PORT."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from fastapi import Response
from servers_sides import Labels

library: Any = import_module("litserve")  # installed where this side is measured


class Api(library.LitAPI):
    """It takes files in forms."""

    def setup(self, _: str) -> None:
        self.work = Labels(*sys.argv[1:3])

    def decode_request(self, request: Any) -> bytes:
        return request["image"].file.read()

    def predict(self, image: bytes) -> bytes:
        return self.work(image)

    def encode_response(self, labels: bytes) -> Any:
        return Response(labels, media_type="application/octet-stream")


# LitServe makes its route of these, where they are there.
Api.decode_request.__annotations__ = {}
Api.encode_response.__annotations__ = {}

if __name__ == "__main__":
    server = library.LitServer(Api(), accelerator="cpu", timeout=False)
    server.run(port=int(sys.argv[3]), generate_client_file=False, log_level="warning")
