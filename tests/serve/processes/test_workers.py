"""`roadshift serve --workers`: real processes under load, killed and stopped."""

import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import cast

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton
from prometheus_client.parser import text_string_to_metric_families

from export.bundle import Golden
from roadshift import UserError
from serve.cli.device_options import DeviceOptions
from serve.cli.serve import serve
from serve.cli.served import Served
from serve.http.listening_socket import listen
from serve.media.codec import encode_png
from serve.processes.siblings import merged
from serve.processes.supervisor import GO, LEAST_PAUSE, READY, Supervisor, _Worker

ROOT = Path(__file__).resolve().parents[3]
COUNT = "roadshift_http_requests_total"


class Workers:
    """Two processes on a port, and the one that looks after them."""

    def __init__(self, process, log):
        self.process, self.log, self.address = process, log, ""

    @property
    def said(self):
        return self.log.read_text()

    def pid(self, number):
        return int(re.findall(rf"worker {number} is process (\d+)", self.said)[-1])

    def get(self, path):
        """Over a connection of its own, which either process may get."""
        return httpx.get(self.address + path, timeout=20)

    def is_ready(self):
        return self.get("/v2/health/ready").status_code == 200

    def segment(self, image):
        return httpx.post(f"{self.address}/segment", content=image, timeout=20).status_code

    def figures(self):
        """Samples by name, labels but the worker, and worker."""
        return {
            (
                s.name,
                s.labels.get("route", ""),
                s.labels.get("status", ""),
                s.labels["worker"],
            ): s.value
            for family in text_string_to_metric_families(self.get("/metrics").text)
            for s in family.samples
        }


def until(true, seconds=90):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


@contextmanager
def begun(bundle, tmp_path, *more):
    log = tmp_path / "log"
    command = [sys.executable, "-m", "roadshift", "serve", str(bundle.folder), "--port", "0"]
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*command, "--workers", "2", *more],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    workers = Workers(process, log)
    try:
        found = re.search(r"(http://\S+) by 2 processes", process.stdout.readline())
        assert found, workers.said
        workers.address = found[1]
        yield workers
    finally:
        process.terminate()
        try:
            process.wait(60)
        finally:
            process.kill()
            process.stdout.close()


@pytest.fixture(scope="module")
def two(tiny, tmp_path_factory):
    with begun(tiny, tmp_path_factory.mktemp("two"), "--grpc-port", "0") as workers:
        until(workers.is_ready)
        yield workers


@contextmanager
def loaded(workers, image, clients=4):
    """Clients that ask on and on, each request on a new connection; what became of them."""
    outcomes, ended = Counter(), threading.Event()

    def ask():
        while not ended.is_set():
            try:
                outcomes[workers.segment(image)] += 1
            except httpx.ConnectError:
                outcomes["refused"] += 1
            except httpx.HTTPError:
                outcomes["lost"] += 1

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield outcomes
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@pytest.fixture(scope="module")
def image(kit):
    return encode_png(kit.random_image(1, 512, 512))


def test_the_figures_are_those_of_all(two, kit):
    small = encode_png(kit.random_image(1))
    before = two.figures()
    for _ in range(20):
        assert two.segment(small) == 200
    after = two.figures()
    for name, labels in ((COUNT, ("/segment", "200")), ("nv_inference_request_success", ("", ""))):
        counted = [
            after[name, *labels, worker] - before.get((name, *labels, worker), 0)
            for worker in "01"
            if (name, *labels, worker) in after
        ]
        assert sum(counted) == 20
    assert {key[-1] for key in after if key[0] == "roadshift_connections"} == {"0", "1"}


def test_both_answer_over_grpc(two, kit):
    port = re.search(r"gRPC on 127\.0\.0\.1:(\d+)", two.said)[1]
    image = kit.random_image(1)[None]
    tensor = triton.InferInput("image", list(image.shape), "UINT8")
    tensor.set_data_from_numpy(image)
    for _ in range(8):
        options = [("grpc.use_local_subchannel_pool", 1)]  # a connection of its own
        with triton.InferenceServerClient(f"127.0.0.1:{port}", channel_args=options) as remote:
            labels = remote.infer("tiny", [tensor]).as_numpy("labels")
        assert np.array_equal(labels, kit.true_labels(image))
    assert two.said.count(f"gRPC on 127.0.0.1:{port}") == 2


def test_one_that_is_killed_comes_back_and_the_other_answers(two, image):
    killed, ready = two.pid(0), two.said.count("ready: worker 0")
    with loaded(two, image) as outcomes:
        until(lambda: outcomes[200] > 5)
        os.kill(killed, signal.SIGKILL)
        until(lambda: "worker 0: it ended with exit code -9; another one begins in" in two.said)
        meanwhile = outcomes[200]
        until(lambda: two.said.count("ready: worker 0") > ready)
        assert outcomes[200] > meanwhile + 5
        assert two.pid(0) != killed
        until(lambda: two.figures().get((COUNT, "/segment", "200", "0"), 0) > 0)
    assert set(outcomes) <= {200, 429, "lost"}
    assert outcomes["lost"] <= 4  # what it was at: one of each client


def test_sigterm_under_load(tiny, image, tmp_path):
    with begun(tiny, tmp_path) as workers:
        until(workers.is_ready)
        with loaded(workers, image) as outcomes:
            until(lambda: outcomes[200] > 5)
            workers.process.terminate()
            assert workers.process.wait(60) == 0
            until(lambda: outcomes["refused"] > 0)
        answered = re.findall(r"POST /segment (\d+)", workers.said)
        seen = {str(status): n for status, n in outcomes.items() if isinstance(status, int)}
        assert Counter(answered) == seen  # all that was begun was answered, and came there
        assert set(seen) <= {"200", "429", "503"}
        assert workers.said.count("Finished server process") == 2


def test_workers_end_with_their_supervisor(tiny, tmp_path):
    with begun(tiny, tmp_path) as workers:
        until(workers.is_ready)
        workers.process.kill()
        workers.process.wait()
        until(lambda: workers.said.count("Finished server process") == 2)


def test_one_that_never_becomes_ready_ends_all(tmp_path, kit):
    image = kit.random_image(0)
    wrong = kit.make_bundle(
        tmp_path / "wrong", golden=[Golden(image, 1 - np.minimum(kit.true_labels(image), 1))]
    )
    with begun(wrong, tmp_path) as workers:
        assert workers.process.wait(90) == 1
        last = workers.said.splitlines()[-1]
        wanted = r"roadshift: worker [01] did not become ready: the server did not become ready: "
        assert re.match(wanted + ".*golden", last), last


def test_what_cannot_be(tiny):
    with pytest.raises(UserError, match="--workers is 0: wanted at least 1"):
        serve((tiny.folder,), workers=0)
    with pytest.raises(UserError, match="--workers 2 and --model-control explicit exclude"):
        serve((tiny.folder,), workers=2, model_control="explicit")
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"for gRPC on 127\.0\.0\.1:{port}.*--grpc-port"):
            serve((tiny.folder,), workers=2, port=0, grpc_port=port)


@pytest.mark.parametrize(("given", "cores", "wanted"), [(0, 8, 4), (0, 1, 1), (3, 8, 3)])
def test_each_has_its_part_of_the_cores(monkeypatch, given, cores, wanted):
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    fields = dict.fromkeys(
        ("bundles", "host", "grpc_port", "changes", "otlp_endpoint", "trust", "access", "limits")
    )
    served = Served(**fields, device=DeviceOptions(threads=given))
    assert served.part_of(2).device.threads == wanted


def test_figures_side_by_side():
    text = "# HELP a_total A.\n# TYPE a_total counter\na_total{x='1'} 2.0\n".replace("'", '"')
    found = merged({0: text, 1: text + "b 3.0\n"}).decode()
    assert found.count("# TYPE a_total counter") == 1
    samples = {
        (sample.name, sample.labels["worker"]): sample.value
        for family in text_string_to_metric_families(found)
        for sample in family.samples
    }
    assert samples == {("a_total", "0"): 2, ("a_total", "1"): 2, ("b", "1"): 3}


def test_a_worker_that_dies_as_the_others_are_ready_is_replaced_not_waited_for():
    supervisor = Supervisor(lambda *_: None, socket.socket(), 2, 1.0)
    lines = [multiprocessing.Pipe() for _ in range(2)]
    for number, (ours, _) in enumerate(lines):
        process = cast(SpawnProcess, None)
        worker = _Worker(number, process, ours, 0.0, LEAST_PAUSE, is_ready=number == 0)
        supervisor._workers[number] = worker
    lines[0][1].close()
    lines[1][1].send(READY)
    supervisor._heard(supervisor._workers[1])
    assert lines[1][1].recv() == GO
    supervisor._bound.close()
