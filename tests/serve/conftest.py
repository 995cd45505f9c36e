"""A bundle of 20 kB whose answers are known: the class is the strongest colour channel."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.bundle import Bundle, Golden, write_bundle
from serve.codec import encode_png
from serve.engine import Engine
from serve.limits import Limits
from serve.reconstructor import opened
from serve.server import Server, bind

CLASSES = ("dark", "red", "green", "blue")
PNG = {"Content-Type": "image/png"}
INFER = "/v2/models/tiny/infer"
PALETTE = ((10, 10, 10), (250, 0, 0), (0, 250, 0), (0, 0, 250))


def _graph(size: tuple[int, int] | None) -> bytes:
    h, w = size or ("H", "W")
    weights = np.concatenate([np.zeros((1, 3)), np.eye(3)]).astype(np.float32).reshape(4, 3, 1, 1)
    constants = {
        "weights": weights,
        "bias": np.array([64, 0, 0, 0], np.float32),  # darker than 64: class 0
        "axes": np.array([1], np.int64),
        "top": np.float32(255),
        "scale": np.float32(32),
    }
    node = helper.make_node
    nodes = [
        node("Cast", ["image"], ["real"], to=TensorProto.FLOAT),
        node("Transpose", ["real"], ["planes"], perm=[0, 3, 1, 2]),
        node("Conv", ["planes", "weights", "bias"], ["scores"]),
        node("AveragePool", ["scores"], ["logits"], kernel_shape=[4, 4], strides=[4, 4]),
        node("ArgMax", ["scores"], ["best"], axis=1, keepdims=0),
        node("Cast", ["best"], ["labels"], to=TensorProto.UINT8),
        node("Div", ["scores", "scale"], ["soft"]),
        node("Softmax", ["soft"], ["shares"], axis=1),
        node("ReduceMax", ["shares", "axes"], ["sure"], keepdims=0),
        node("Mul", ["sure", "top"], ["scaled"]),
        node("Round", ["scaled"], ["rounded"]),
        node("Cast", ["rounded"], ["confidence"], to=TensorProto.UINT8),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "tiny",
        [value("image", TensorProto.UINT8, ["N", h, w, 3])],
        [
            value("labels", TensorProto.UINT8, ["N", h, w]),
            value("confidence", TensorProto.UINT8, ["N", h, w]),
            value("logits", TensorProto.FLOAT, ["N", 4, "h", "w"]),
        ],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _drawing(size: tuple[int, int] | None, palette=PALETTE) -> bytes:
    """A reconstructor: every class in its colour, what is no class in black."""
    h, w = size or ("H", "W")
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = palette
    node, value = helper.make_node, helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            node("Cast", ["labels"], ["ids"], to=TensorProto.INT32),
            node("Gather", ["table", "ids"], ["image"]),
        ],
        "drawing",
        [value("labels", TensorProto.UINT8, ["N", h, w])],
        [value("image", TensorProto.UINT8, ["N", h, w, 3])],
        [numpy_helper.from_array(table, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def true_image(labels: np.ndarray) -> np.ndarray:
    return np.array([*PALETTE, *[(0, 0, 0)] * 252], np.uint8)[labels]


def true_labels(image: np.ndarray) -> np.ndarray:
    dark = np.full((*image.shape[:-1], 1), 64, np.uint8)
    return np.concatenate([dark, image], -1).argmax(-1).astype(np.uint8)


def random_image(seed: int, h: int = 32, w: int = 48) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)


def make_bundle(
    folder: Path,
    *,
    size: tuple[int, int] | None = None,
    graph: bytes | None = None,
    golden: list[Golden] | None = None,
    drawing: bytes | None = None,
) -> Bundle:
    """`drawing` is a reconstructor's graph, for a bundle with one."""
    image = random_image(0, *(size or (32, 48)))
    bundle = Bundle(
        folder=folder,
        name="tiny",
        classes=CLASSES,
        palette=PALETTE,
        size=size,
        min_size=size or (8, 8),
        precision="fp32",
        opset=18,
        provenance={},
        scores={},
        checks={"min_agreement": 0.999},
        files={},
    )
    contents = {"segmentor.onnx": graph or _graph(size), "report.md": b"# tiny\n"}
    golden = golden or [Golden(image, true_labels(image))]
    if drawing is None:
        return write_bundle(bundle, contents, golden)
    checks = {"min_agreement": 0.999, "reconstructor": {"min_psnr": 40.0}}
    contents["reconstructor.onnx"] = drawing
    rebuilt = [true_image(frame.labels) for frame in golden]
    return write_bundle(replace(bundle, checks=checks), contents, golden, rebuilt)


class GatedEngine(Engine):
    """An engine that can be held up, to fill the queue behind it."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle, threads=1)
        self.gate, self.entered, self.runs = threading.Event(), threading.Event(), 0
        self.gate.set()

    def run(self, images, wanted):
        self.runs += 1
        self.entered.set()
        assert self.gate.wait(10)
        return super().run(images, wanted)


class Running(httpx.Client):
    """A client of a server on a free loopback port."""

    engine: GatedEngine
    address: str
    server: Server

    @property
    def taken(self) -> int:
        """How many requests are being worked on or waiting."""
        return self.server.uvicorn.config.app.state.service.admission.taken


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("tiny") / "bundle")


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with a reconstructor."""
    return make_bundle(tmp_path_factory.mktemp("drawn") / "bundle", drawing=_drawing(None))


@pytest.fixture(scope="session")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("fixed") / "bundle", size=(16, 24))


@contextmanager
def running(
    bundle: Bundle, limits: Limits | None = None, *, ready: bool = True
) -> Iterator[Running]:
    engine = GatedEngine(bundle)
    if not ready:
        engine.gate.clear()
    with bind("127.0.0.1", 0) as bound:
        server = Server(engine, bound, limits or Limits(), opened(bundle, threads=1))
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
    make_bundle = staticmethod(make_bundle)
    true_labels = staticmethod(true_labels)
    random_image = staticmethod(random_image)
    wait_until = staticmethod(wait_until)
    binary, error, small = map(staticmethod, (binary, error, small))
    PNG, INFER = PNG, INFER
    graph, drawing = map(staticmethod, (_graph, _drawing))
    true_image = staticmethod(true_image)
    classes, palette = CLASSES, PALETTE


@pytest.fixture(scope="session")
def kit() -> type[Kit]:
    return Kit
