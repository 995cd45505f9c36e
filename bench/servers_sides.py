"""What bench/servers.py measures beside our server, each in a process of its own.

    python bench/servers_sides.py bare GRAPH.onnx IMAGE.jpg CLIENTS SECONDS
    python bench/servers_sides.py fastapi GRAPH.onnx PORT

Servers whose workers are other processes have files of their own beside this one. Runs without
roadshift, in any environment with numpy, OpenCV, ONNX Runtime and that server. All turn a JPEG file
into a PNG file of labels by the same three calls.
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
    """JPEG bytes to PNG bytes of class ids."""

    def __init__(self, graph: str) -> None:
        self.session: Any = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])

    def __call__(self, jpeg: bytes) -> bytes:
        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        (labels,) = self.session.run(["labels"], {"image": rgb[None]})
        return cv2.imencode(".png", labels[0], FILTER)[1].tobytes()


def bare(graph: str, image: str, clients: str, seconds: str) -> None:
    """No server: threads that call on and on; says the fields of a Load, as JSON."""
    work, took = Labels(graph), list[float]()
    with open(image, "rb") as file:  # noqa: PTH123 - as plain as can be
        jpeg = file.read()
    work(jpeg)
    start, used = time.perf_counter(), time.process_time()
    end = start + float(seconds)

    def loop() -> None:
        while (began := time.perf_counter()) < end:
            work(jpeg)
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


def fastapi(graph: str, port: str) -> None:
    """A route that hands the work to a thread."""
    import uvicorn  # noqa: PLC0415 - only this side needs it
    from fastapi import FastAPI, Request, Response  # noqa: PLC0415
    from starlette.concurrency import run_in_threadpool  # noqa: PLC0415

    app, work = FastAPI(), Labels(graph)

    async def predict(request: Any) -> Any:
        png = await run_in_threadpool(work, await request.body())
        return Response(png, media_type="image/png")

    predict.__annotations__ = {"request": Request}
    app.post("/predict")(predict)
    uvicorn.run(app, port=int(port), log_level="warning")


SIDES = {each.__name__: each for each in (bare, fastapi)}

if __name__ == "__main__":
    SIDES[sys.argv[1]](*sys.argv[2:])
