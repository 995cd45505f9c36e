"""What bench/servers.py measures beside our server, each in a process of its own.

    python bench/servers_sides.py bare GRAPH.onnx FORM FILE CLIENTS SECONDS
    python bench/servers_sides.py fastapi GRAPH.onnx FORM PORT

Servers whose workers are other processes have files of their own beside this one. Runs without
roadshift, in any environment with numpy, OpenCV, ONNX Runtime and that server. FORM is `jpeg`, of
which all make a PNG file of labels by the same three calls, or a size (1024x2048): the bytes of an
image and those of its labels.
"""

from __future__ import annotations

import json
import resource
import sys
import threading
import time
from typing import Any

import cv2
import numpy as np
import onnxruntime

UP = getattr(cv2, "IMWRITE_PNG_FILTER_UP", None)
FILTER = [] if UP is None else [cv2.IMWRITE_PNG_FILTER, UP]


class Labels:
    """An image to its class ids, both as bytes in that form."""

    def __init__(self, graph: str, form: str) -> None:
        self.session: Any = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        self.size = None if form == "jpeg" else [int(side) for side in form.split("x")]

    def __call__(self, data: bytes) -> bytes:
        if self.size:
            return self._run(np.frombuffer(data, np.uint8).reshape(*self.size, 3)).tobytes()
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        labels = self._run(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        return cv2.imencode(".png", labels, FILTER)[1].tobytes()

    def _run(self, rgb: Any) -> Any:
        (labels,) = self.session.run(["labels"], {"image": rgb[None]})
        return labels[0]


def bare(graph: str, form: str, name: str, clients: str, seconds: str) -> None:
    """No server: threads that call on and on; says the fields of a Load, as JSON."""
    work, took = Labels(graph, form), list[float]()
    with open(name, "rb") as file:  # noqa: PTH123 - as plain as can be
        data = file.read()
    work(data)
    start, used = time.perf_counter(), time.process_time()
    end = start + float(seconds)

    def loop() -> None:
        while (began := time.perf_counter()) < end:
            work(data)
            took.append(time.perf_counter() - began)

    threads = [threading.Thread(target=loop) for _ in range(int(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = {"seconds": time.perf_counter() - start, "took": took}
    found |= {"cpu_seconds": time.process_time() - used}
    found |= {"memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    print(json.dumps(found))


def fastapi(graph: str, form: str, port: str) -> None:
    """A route that hands the work to a thread."""
    import uvicorn  # noqa: PLC0415 - only this side needs it
    from fastapi import FastAPI, Request, Response  # noqa: PLC0415
    from starlette.concurrency import run_in_threadpool  # noqa: PLC0415

    app, work = FastAPI(), Labels(graph, form)

    async def predict(request: Any) -> Any:
        labels = await run_in_threadpool(work, await request.body())
        return Response(labels, media_type="application/octet-stream")

    predict.__annotations__ = {"request": Request}
    app.post("/predict")(predict)
    uvicorn.run(app, port=int(port), log_level="warning")


SIDES = {each.__name__: each for each in (bare, fastapi)}

if __name__ == "__main__":
    SIDES[sys.argv[1]](*sys.argv[2:])
