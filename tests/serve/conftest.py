"""Bundles of 20 kB of tiny_graphs, and real servers of them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import httpx
import numpy as np
import onnxruntime
import pytest
from tiny_graphs import (
    CLASSES,
    PALETTE,
    drawing,
    in_fp16,
    in_int8,
    segmenting,
    translation,
    true_image,
    true_labels,
    upsampling,
)

from export.bundle import Bundle, Golden, write_bundle
from serve.http.app import Beside, no_other_face
from serve.http.guard import OPEN, Before
from serve.http.listening_socket import listen
from serve.http.server import Server
from serve.limits import Limits
from serve.media.codec import encode_png
from serve.models.repository import Opener
from serve.runtime.engine import Engine
from serve.runtime.image_graphs import image_graphs_of

PNG = {"Content-Type": "image/png"}
INFER = "/v2/models/tiny/infer"


def random_image(seed: int, h: int = 32, w: int = 48) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)


def make_bundle(
    folder: Path,
    *,
    size: tuple[int, int] | None = None,
    graph: bytes | None = None,
    golden: list[Golden] | None = None,
    others: Mapping[str, bytes] | None = None,
    **changes,
) -> Bundle:
    """`others` are more graphs by their file's name; `changes` are those to the Bundle's fields."""
    image = random_image(0, *(size or (32, 48)))
    bundle = Bundle(
        folder=folder,
        name="tiny",
        classes=CLASSES,
        palette=PALETTE,
        size=size,
        min_size=size or (8, 8),
        precisions=("fp32",),
        align_corners=False,
        route="dense",
        opset=18,
        provenance={},
        scores={},
        checks={},
        files={},
    )
    bundle = replace(bundle, **changes)
    contents = {
        "segmentor.onnx": graph or segmenting(size),
        "report.md": b"# tiny\n",
        **(others or {}),
    }
    golden = golden or [Golden(image, true_labels(image))]
    checks = dict(bundle.checks)
    checks["precisions"] = {name: {"min_agreement": 0.999} for name in bundle.precisions}
    drawn = {}
    if "reconstructor.onnx" in contents:
        checks["reconstructor"] = {"min_psnr": 40.0}
        drawn["rebuilt"] = [true_image(frame.labels) for frame in golden]
    if "translator.onnx" in contents:
        checks["translator"] = {"min_psnr": 40.0}
        drawn["translated"] = [255 - frame.image for frame in golden]
    return write_bundle(replace(bundle, checks=checks), contents, golden, drawn)


def make_exact(
    folder: Path, *, aligned: bool = False, graph: bytes | None = None, **more
) -> Bundle:
    """A bundle with the exact route; its golden labels are what its graph gives."""
    graph = graph or upsampling(aligned)
    golden = []
    for seed in range(2):
        # Smooth, as real logits are: few pixels lie between two classes.
        image = cv2.resize(random_image(seed, 8, 12), (96, 64), interpolation=cv2.INTER_CUBIC)
        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        golden.append(Golden(image, session.run(["labels"], {"image": image[None]})[0][0]))
    more = {"route": "exact", "align_corners": aligned, **more}
    return make_bundle(folder, graph=graph, golden=golden, **more)


class GatedEngine(Engine):
    """An engine that can be held up, to fill the queue behind it."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle, threads=1)
        self.gate, self.entered, self.runs = threading.Event(), threading.Event(), 0
        self.gate.set()

    def run(self, images, wanted):
        self.runs += 1
        self._wait()
        return super().run(images, wanted)

    def check_golden(self):
        self._wait()
        return super().check_golden()

    def _wait(self):
        self.entered.set()
        assert self.gate.wait(10)


class Running(httpx.Client):
    """A client of a server on a free loopback port."""

    engine: GatedEngine
    address: str
    server: Server

    @property
    def taken(self) -> int:
        """How many requests are being worked on or waiting."""
        return self.server.service.segmentor.line.taken


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("tiny") / "bundle")


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with a reconstructor."""
    folder = tmp_path_factory.mktemp("drawn") / "bundle"
    return make_bundle(folder, others={"reconstructor.onnx": drawing(None)})


@pytest.fixture(scope="session")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with a reconstructor, whose export measured how well it explains usual frames."""
    folder = tmp_path_factory.mktemp("checked") / "bundle"
    usual = {"self_check": {"frames": 2, "mean": 0.25, "std": 0.125}}
    return make_bundle(folder, others={"reconstructor.onnx": drawing(None)}, checks=usual)


@pytest.fixture(scope="session")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle whose labels can be taken from its logits, and with a graph of each other kind."""
    others = {"reconstructor.onnx": drawing(None), "translator.onnx": translation()}
    return make_exact(tmp_path_factory.mktemp("exact") / "bundle", others=others)


@pytest.fixture(scope="session")
def int8(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with a second precision, in which some pixels come out otherwise."""
    others = {"segmentor.int8.onnx": in_int8(upsampling())}
    folder = tmp_path_factory.mktemp("int8") / "bundle"
    bundle = make_exact(folder, precisions=("fp32", "int8"), others=others)
    checks = {"fp32": {"min_agreement": 0.999}, "int8": {"min_agreement": 0.98}}
    return replace(bundle, checks={"precisions": checks})


@pytest.fixture(scope="session")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("fixed") / "bundle", size=(16, 24))


@contextmanager
def running(
    bundle: Bundle,
    limits: Limits | None = None,
    *,
    ready: bool = True,
    engines: list[Engine] | None = None,
    beside: Beside = no_other_face,
    openers: Mapping[str, Opener] | None = None,
    before: Before = OPEN.before,
) -> Iterator[Running]:
    engine = GatedEngine(bundle)
    if not ready:
        engine.gate.clear()
    with listen("127.0.0.1", 0) as bound:
        graphs = [*(engines or [engine]), *image_graphs_of(bundle, threads=1)]
        more = {"beside": beside, "openers": openers, "before": before}
        server = Server(graphs, bound, limits or Limits(), **more)
        thread = threading.Thread(target=_run, args=(server,))
        thread.start()
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        try:
            with Running(base_url=f"http://{address}", timeout=10) as client:
                client.engine, client.address, client.server = engine, address, server
                wait_until(lambda: server.uvicorn.started or not thread.is_alive())
                if ready:
                    wait_until(lambda: client.get("/v2/health/ready").status_code == 200)
                yield client
        finally:
            engine.gate.set()
            server.uvicorn.should_exit = True
            thread.join(10)
    assert not thread.is_alive()


def _run(server: Server) -> None:
    try:
        server.run()
    except Exception as error:
        server.failure = error


def wait_until(true: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(1000):
        if true():
            return
        pause.wait(0.01)
    raise AssertionError("it did not happen within 10 s")


@pytest.fixture(scope="module")
def client(tiny: Bundle) -> Iterator[Running]:
    with running(tiny) as client:
        yield client


def binary(image, **more):
    size = {"binary_data_size": image.size}
    tensor = {"name": "image", "shape": list(image.shape), "datatype": "UINT8", "parameters": size}
    head = json.dumps({"inputs": [tensor], "outputs": [{"name": "labels"}], **more}).encode()
    return {
        "content": head + image.tobytes(),
        "headers": {"Inference-Header-Content-Length": str(len(head))},
    }


def error(response, status):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert set(response.json()) == {"error"}
    return response.json()["error"]


def small(client):
    """One cheap request, to see that the server still answers."""
    response = client.post("/segment", content=encode_png(np.zeros((8, 8), np.uint8)), headers=PNG)
    assert response.status_code == 200, response.text


class Kit:
    """conftest's functions, for tests that cannot import them by name."""

    running = staticmethod(running)
    GatedEngine = GatedEngine
    make_bundle = staticmethod(make_bundle)
    true_labels = staticmethod(true_labels)
    random_image = staticmethod(random_image)
    wait_until = staticmethod(wait_until)
    binary, error, small = map(staticmethod, (binary, error, small))
    PNG, INFER = PNG, INFER
    graph, drawing = map(staticmethod, (segmenting, drawing))
    upsampling, translation, in_int8 = map(staticmethod, (upsampling, translation, in_int8))
    in_fp16 = staticmethod(in_fp16)
    make_exact = staticmethod(make_exact)
    true_image = staticmethod(true_image)
    classes, palette = CLASSES, PALETTE


@pytest.fixture(scope="session")
def kit() -> type[Kit]:
    return Kit
