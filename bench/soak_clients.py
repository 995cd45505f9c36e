"""Clients of all kinds for bench/soak.py: good, broken and abandoned, and what came of each."""

from __future__ import annotations

import asyncio
import json
import struct
import zlib
from collections import Counter
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx
import numpy as np
import tritonclient.grpc.aio as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

BUSY = (429, 503, 504)
BUSY_CODES = ("RESOURCE_EXHAUSTED", "UNAVAILABLE", "DEADLINE_EXCEEDED")
LEAVES_AFTER = 0.05


@dataclass
class Counts:
    """What the clients saw: (transport, kind, outcome), statuses over HTTP, and what was wrong."""

    seen: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def add(self, transport: str, kind: str, outcome: str, why: str = "") -> None:
        self.seen[transport, kind, outcome] += 1
        if outcome == "wrong":
            self.wrong.append(f"{transport}, {kind}: {why}"[:300])

    def total(self, transport: str, kind: str = "", outcome: str = "") -> int:
        return sum(
            n
            for (t, k, o), n in self.seen.items()
            if t == transport and kind in ("", k) and outcome in ("", o)
        )


@dataclass
class Target:
    """A server, a frame, and the right answer."""

    port: int
    grpc_port: int
    name: str
    jpeg: bytes
    image: NDArray[np.uint8]
    png: bytes
    """The labels of the JPEG, as the server gave them before the load."""
    labels: NDArray[np.uint8]
    """The labels of the image [h,w], likewise."""
    counts: Counts = field(default_factory=Counts)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def bomb() -> bytes:
    """A PNG that says 60,000 x 60,000, and has nothing of it."""
    size = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", size), (b"IDAT", b""), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def broken_bodies(target: Target) -> list[tuple[str, bytes, int]]:
    """Path, body and the status that is right."""
    wrong = {"name": "image", "shape": [1, 8, 8, 3], "datatype": "FP32", "data": [0.0] * 192}
    return [
        ("/segment", b"GIF89a", 415),
        ("/segment", target.jpeg[: len(target.jpeg) // 2], 400),
        ("/segment", bomb(), 413),
        ("/segment?model=nobody", target.jpeg, 404),
        (f"/v2/models/{target.name}/infer", json.dumps({"inputs": [wrong]}).encode(), 400),
    ]


async def http(target: Target, client: httpx.AsyncClient, draw: int, kind: str) -> None:
    """One request: good, or broken in the way that `draw` says."""
    path, body, right = "/segment", target.jpeg, 200
    if kind == "broken":
        broken = broken_bodies(target)
        path, body, right = broken[draw % len(broken)]
    try:
        answer = await client.post(path, content=body, headers={"Content-Type": "image/jpeg"})
    except httpx.HTTPError as error:
        target.counts.add("http", kind, "wrong", repr(error))
        return
    status = answer.status_code
    if path.startswith("/segment"):
        target.counts.statuses[status] += 1
    if status in BUSY and right != status and "error" in answer.json():
        target.counts.add("http", kind, "refused")
    elif status == right and (status != 200 or answer.content == target.png):
        target.counts.add("http", kind, "answered")
    else:
        target.counts.add("http", kind, "wrong", f"{path} {status} {answer.content[:100]!r}")


async def http_abandoned(target: Target, draw: int) -> None:
    """Half a body and gone, or all of it and gone before the answer."""
    _, writer = await asyncio.open_connection("127.0.0.1", target.port)
    head = (
        "POST /segment HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
        f"Content-Length: {len(target.jpeg)}\r\n\r\n"
    )
    writer.write(head.encode() + target.jpeg[: len(target.jpeg) // (1 + draw % 2)])
    with suppress(ConnectionError):
        await writer.drain()
        await asyncio.sleep(LEAVES_AFTER)
        writer.close()
        await writer.wait_closed()
    target.counts.add("http", "abandoned", "left")


def _tensor(image: NDArray[Any], datatype: str) -> list[triton.InferInput]:
    made = triton.InferInput("image", list(image.shape), datatype)
    made.set_data_from_numpy(image)
    return [made]


async def over_grpc(target: Target, client: Any, draw: int, kind: str) -> None:
    """One call: good, broken, or cancelled."""
    name, inputs, right = target.name, _tensor(target.image[None], "UINT8"), "OK"
    if kind == "broken":
        if draw % 2:
            name, right = "nobody", "NOT_FOUND"
        else:
            inputs = _tensor(np.zeros((1, 8, 8, 3), np.float32), "FP32")
            right = "INVALID_ARGUMENT"
    outputs = [triton.InferRequestedOutput("labels")]
    call: Awaitable[Any] = client.infer(name, inputs, outputs=outputs)
    if kind == "abandoned":
        task = asyncio.ensure_future(call)
        await asyncio.sleep(LEAVES_AFTER)
        task.cancel()
        with suppress(asyncio.CancelledError, grpc.RpcError, InferenceServerException):
            await task
        target.counts.add("grpc", kind, "left")
        return
    try:
        answer = await call
        code, why = "OK", "other labels"
        same = kind == "good" and np.array_equal(answer.as_numpy("labels")[0], target.labels)
    except InferenceServerException as error:
        code, why, same = str(error.status()).rpartition(".")[2], str(error), right != "OK"
    if code in BUSY_CODES:
        target.counts.add("grpc", kind, "refused")
    else:
        outcome = "answered" if code == right and same else "wrong"
        target.counts.add("grpc", kind, outcome, f"{code} {why}")


async def stream(target: Target, every: float, ended: asyncio.Event) -> None:
    """Frames at a steady rate, one in ten broken, until `ended`; the last is waited for."""
    final = 0
    async with connect(f"ws://127.0.0.1:{target.port}/stream", max_size=None) as socket:

        async def send() -> None:
            nonlocal final
            sent = 0
            while not final:
                sent += 1
                final = sent if ended.is_set() else 0
                await socket.send(b"no image" if sent % 10 == 0 else target.jpeg)
                target.counts.add("stream", "frames", "sent")
                await asyncio.sleep(every)

        sending, last = asyncio.create_task(send()), 0
        try:
            while not final or last < final:
                head = json.loads(await asyncio.wait_for(socket.recv(), 60))
                last = head["frame"]
                _count_frame(target, head, None if "error" in head else await socket.recv())
        except (ConnectionClosed, TimeoutError) as error:
            target.counts.add("stream", "frames", "wrong", repr(error))
        sending.cancel()


def _count_frame(target: Target, head: dict[str, Any], content: Any) -> None:
    is_broken = head["frame"] % 10 == 0
    if content is None:
        clean = head["status"] in BUSY or (is_broken and head["status"] == 415)
        target.counts.add("stream", "frames", "refused" if clean else "wrong", str(head))
    else:
        right = content == target.png and not is_broken
        target.counts.add("stream", "frames", "answered" if right else "wrong", "other labels")


async def stream_abandoned(target: Target) -> None:
    """A stream that is left as soon as its frame is sent."""
    async with connect(f"ws://127.0.0.1:{target.port}/stream", max_size=None) as socket:
        await socket.send(target.jpeg)
        target.counts.add("stream", "frames", "sent")
    target.counts.add("stream", "abandoned", "left")
