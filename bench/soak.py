"""A server at twice its capacity for minutes: does it crash, leak, lose or miscount anything?

    python bench/soak.py BUNDLE [--minutes 20] [--out bench/results/soak.md]

`roadshift serve BUNDLE` runs in a process of its own. Its capacity is what four HTTP clients get
that ask on and on. Then twice that many good requests a second come in, whatever becomes of them,
over HTTP, gRPC and WebSocket streams, and broken and abandoned ones besides; every answer is
compared with the right one. Ends with exit code 1 when a check fails. Needs httpx and tritonclient;
Linux.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import tritonclient.grpc.aio as triton
from deploy_setup import cpu
from soak_checks import Check, checks, figures, table
from soak_clients import Target, http, http_abandoned, over_grpc, stream, stream_abandoned

from export.bundle import Bundle, read_bundle
from serve.media.codec import encode_jpeg

STREAMS = 3
GOOD = 0.75
"""Of all that is sent; the rest is broken or abandoned."""
MOST_AT_ONCE = 100
"""Below the server's bound on connections of one address."""


@contextmanager
def serving(bundle: Path, log: Path) -> Generator[tuple[subprocess.Popen[str], int, int]]:
    """The server, ready, and its ports for HTTP and gRPC."""
    command = [sys.executable, "-m", "roadshift", "serve", str(bundle), "--port", "0"]
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*command, "--grpc-port", "0"], stdout=subprocess.PIPE, stderr=errors, text=True
        )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", said)
        assert found, said + log.read_text()
        port = int(found[1])
        ready = f"http://127.0.0.1:{port}/v2/health/ready"
        while httpx.get(ready).status_code != 200:
            time.sleep(0.1)
        grpc_port = re.search(r"gRPC on \S+:(\d+)", log.read_text())
        assert grpc_port, log.read_text()
        yield process, port, int(grpc_port[1])
    finally:
        process.kill()
        process.wait()


def rss(pid: int) -> float:
    """MB resident."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


async def target_of(bundle: Bundle, port: int, grpc_port: int) -> Target:
    """The golden frame, and what the server answers to it while nothing else is asked."""
    image = bundle.golden()[0].image
    jpeg = encode_jpeg(image)
    address = f"127.0.0.1:{grpc_port}"
    async with httpx.AsyncClient() as client, triton.InferenceServerClient(address) as remote:
        answer = await client.post(f"http://127.0.0.1:{port}/segment", content=jpeg)
        answer.raise_for_status()
        tensor = triton.InferInput("image", [1, *image.shape], "UINT8")
        tensor.set_data_from_numpy(image[None])
        result = await remote.infer(bundle.name, [tensor])
        labels = result.as_numpy("labels") if result else None
    assert labels is not None
    return Target(port, grpc_port, bundle.name, jpeg, image, answer.content, labels[0])


async def capacity(target: Target, seconds: float) -> float:
    """Answers a second to four clients that ask on and on, for so many seconds."""
    end, answered = time.perf_counter() + seconds, 0

    async def ask() -> None:
        nonlocal answered
        async with httpx.AsyncClient(base_url=target.address, timeout=60) as client:
            while time.perf_counter() < end:
                answer = await client.post("/segment", content=target.jpeg)
                answered += answer.is_success

    await asyncio.gather(*(ask() for _ in range(4)))
    return answered / seconds


async def load(target: Target, rate: float, seconds: float, pid: int) -> list[tuple[float, float]]:
    """`rate` requests a second for so long; the server's memory, (seconds, MB) each half second."""
    began, memory, ended = time.perf_counter(), list[tuple[float, float]](), asyncio.Event()

    async def sample() -> None:
        while not ended.is_set():
            memory.append((time.perf_counter() - began, rss(pid)))
            await asyncio.sleep(0.5)

    bounds = httpx.Limits(max_connections=MOST_AT_ONCE)
    address = f"127.0.0.1:{target.grpc_port}"
    async with (
        httpx.AsyncClient(base_url=target.address, timeout=60, limits=bounds) as client,
        triton.InferenceServerClient(address) as remote,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(sample())
        for _ in range(STREAMS):  # a quarter of the rate is that of the streams' frames
            tasks.create_task(stream(target, 4 * STREAMS / rate, ended))
        draws, places, k = random.Random(0), asyncio.Semaphore(MOST_AT_ONCE), 0

        async def one(k: int, draw: float) -> None:
            async with places:
                await _act(target, client, remote, k, draw)

        while (left := began + seconds - time.perf_counter()) > 0:
            due = began + k / (0.75 * rate) - time.perf_counter()
            await asyncio.sleep(min(max(due, 0), left))
            async with places:
                tasks.create_task(one(k, draws.random()))
            k += 1
        ended.set()
    return memory


async def _act(
    target: Target,
    client: httpx.AsyncClient,
    remote: triton.InferenceServerClient,
    k: int,
    u: float,
) -> None:
    if u < 0.55:
        await http(target, client, k, "good")
    elif u < 0.63:
        await http(target, client, k, "broken")
    elif u < 0.70:
        await http_abandoned(target, k)
    elif u < 0.73:
        await stream_abandoned(target)
    elif u < 0.90:
        await over_grpc(target, remote, k, "good")
    else:
        await over_grpc(target, remote, k, "broken" if u < 0.95 else "abandoned")


async def idle(target: Target) -> None:
    """Waits until the server has nothing to do; at most 30 s."""
    for _ in range(60):
        now = await figures(target)
        under_way = [v for (name, *_), v in now.items() if name.endswith("pending_request_count")]
        if not any(under_way) and not now["roadshift_streams",] + now["roadshift_body_bytes",]:
            return
        await asyncio.sleep(0.5)


async def soak(
    bundle: Bundle, process: subprocess.Popen[str], ports: tuple[int, int], minutes: float
) -> tuple[list[Check], Target, float, list[tuple[float, float]]]:
    target = await target_of(bundle, *ports)
    # Other work on the machine makes it less; the first time warms it up.
    most = max([await capacity(target, min(5.0, 3 * minutes)) for _ in range(4)][1:])
    before = await figures(target)
    memory = await load(target, 2 * most / GOOD, 60 * minutes, process.pid)
    await idle(target)
    return checks(target, before, await figures(target), memory), target, most, memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--out", type=Path, default=Path("bench/results/soak.md"))
    asked = parser.parse_args()
    bundle = read_bundle(asked.bundle)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with serving(asked.bundle, log) as (process, *ports):
            ran = soak(bundle, process, (ports[0], ports[1]), asked.minutes)
            found, target, most, memory = asyncio.run(ran)
            alive = process.poll() is None
            process.send_signal(signal.SIGTERM)
            code = process.wait(60)
        broken = log.read_text().count("Traceback")
    said = f"ended by SIGTERM with {code}, {broken} tracebacks in its log"
    found.insert(0, Check("no crash", alive and code in (0, -signal.SIGTERM) and not broken, said))
    about = (
        f"`python bench/soak.py BUNDLE --minutes {asked.minutes:g}`: {cpu()}, "
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; bundle {bundle.name}, "
        f"{json.dumps(bundle.provenance.get('method', 'unknown'))}."
    )
    text = table(about, target, most, memory, found)
    print(text)
    asked.out.write_text(text)
    sys.exit(not all(check.holds for check in found))


if __name__ == "__main__":
    main()
