"""Ray Serve with one replica, for bench/servers.py: servers_ray.py GRAPH.onnx FORM PORT."""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from typing import Any

from servers_sides import Labels
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

library: Any = import_module("ray.serve")  # installed where this side is measured


class Segment:
    """A request's body in, a body out; the calls run in threads beside the replica's loop."""

    def __init__(self, graph: str, form: str) -> None:
        self.work = Labels(graph, form)

    async def __call__(self, request: Any) -> Response:
        labels = await run_in_threadpool(self.work, await request.body())
        return Response(labels, media_type="application/octet-stream")


if __name__ == "__main__":
    cores = os.cpu_count()
    import_module("ray").init(num_cpus=cores, include_dashboard=False, log_to_driver=False)
    library.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[3])})
    deployed = library.deployment(Segment, max_ongoing_requests=64)
    library.run(deployed.bind(*sys.argv[1:3]), route_prefix="/predict")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    signal.pause()
