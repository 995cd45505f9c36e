"""What the server adds to the network: medians for one JPEG and a graph that does next to nothing.

    python bench/serve_overhead.py [IMAGE.jpg] [--repeat 30]

Without an image a 1024x2048 one is drawn. Needs onnx (the extra `train`) and httpx.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from export.bundle import Bundle, Golden, write_bundle
from serve.http.listening_socket import listen
from serve.http.server import Server
from serve.limits import Limits
from serve.media.codec import decode, encode_jpeg, encode_png
from serve.media.paint import overlay
from serve.runtime.engine import Engine

CLASSES = 19


def trivial_bundle(folder: Path, name: str = "trivial", pooled: int = 0) -> Bundle:
    """Labels are the red channel's top bits: 18 of 19 classes, for the price of a slice.

    With `pooled` they are those of the mean over so many pixels each way, which takes its time.
    """
    node, value = helper.make_node, helper.make_tensor_value_info
    shape, low = ["N", "H", "W"], ["N", CLASSES, "h", "w"]
    constants = {"zero": 0, "one": 1, "last": 3, "divisor": 15}
    tensors = [
        helper.make_tensor(name, TensorProto.INT64, [1], [number])
        for name, number in constants.items()
        if name != "divisor"
    ]
    tensors.append(helper.make_tensor("divisor", TensorProto.UINT8, [], [constants["divisor"]]))
    tensors.append(helper.make_tensor("some", TensorProto.FLOAT, [1, CLASSES, 1, 1], [0.0] * 19))
    nodes = [
        node("Slice", ["image", "zero", "one", "last"], ["plane"]),
        node("Squeeze", ["plane", "last"], ["red"]),
        *(_mean_of_red(pooled) if pooled else []),
        node("Div", ["mean" if pooled else "red", "divisor"], ["labels"]),
        node("Identity", ["red"], ["confidence"]),
        node("Identity", ["some"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "trivial",
        [value("image", TensorProto.UINT8, [*shape, 3])],
        [
            value("labels", TensorProto.UINT8, shape),
            value("confidence", TensorProto.UINT8, shape),
            value("logits", TensorProto.FLOAT, low),
        ],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    colours = np.random.default_rng(0).integers(0, 256, (CLASSES, 3)).tolist()
    frame = np.zeros((8, 8, 3), np.uint8)
    bundle = Bundle(
        folder=folder,
        name=name,
        classes=tuple(f"class {i}" for i in range(CLASSES)),
        palette=tuple((r, g, b) for r, g, b in colours),
        size=None,
        min_size=(1, 1),
        precisions=("fp32",),
        align_corners=False,
        route="dense",
        opset=18,
        provenance={},
        scores={},
        checks={"precisions": {"fp32": {"min_agreement": 1.0}}},
        files={},
    )
    contents = {"segmentor.onnx": model.SerializeToString(), "report.md": b"trivial\n"}
    return write_bundle(bundle, contents, [Golden(frame, frame[..., 0])])


def _mean_of_red(pixels: int) -> list[NodeProto]:
    node = helper.make_node
    return [
        node("Cast", ["red"], ["float"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["float", "one"], ["one channel"]),
        node(
            "AveragePool",
            ["one channel"],
            ["averages"],
            kernel_shape=[pixels, pixels],
            auto_pad="SAME_UPPER",
        ),
        node("Squeeze", ["averages", "one"], ["float mean"]),
        node("Cast", ["float mean"], ["mean"], to=TensorProto.UINT8),
    ]


def drawn() -> NDArray[np.uint8]:
    """A 1024x2048 image of smooth blobs, about as hard to compress as a street."""
    small = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    return cv2.resize(small, (2048, 1024), interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def show(name: str, call: Callable[[], Any], repeat: int) -> None:
    """Prints the median and the least time of `call` in milliseconds."""
    call()
    times: list[float] = []
    for _ in range(repeat):
        began = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - began))
    print(f"{name:30} median {statistics.median(times):6.1f} ms, least {min(times):6.1f} ms")


def measure(engine: Engine, jpeg: bytes, repeat: int) -> None:
    """The parts of a request one by one, then whole requests over HTTP."""
    image = decode(jpeg)
    labels = engine.segment(image[None]).labels[0]
    blend = overlay(image, labels, engine.bundle.palette)
    print(f"image {image.shape[0]}x{image.shape[1]}, {len(jpeg) / 1e3:.0f} kB as JPEG")
    show("decode the JPEG", lambda: decode(jpeg), repeat)
    show("run the trivial graph", lambda: engine.segment(image[None]), repeat)
    show("encode the labels as PNG", lambda: encode_png(labels), repeat)
    show("colour and blend", lambda: overlay(image, labels, engine.bundle.palette), repeat)
    show("encode the overlay as JPEG", lambda: encode_jpeg(blend), repeat)
    head = (
        f'{{"inputs":[{{"name":"image","datatype":"UINT8","shape":{[1, *image.shape]},'
        f'"parameters":{{"binary_data_size":{image.size}}}}}],'
        '"outputs":[{"name":"labels","parameters":{"binary_data":true}}]}'
    ).encode()
    tensor = {"Inference-Header-Content-Length": str(len(head))}
    with listen("127.0.0.1", 0) as bound:
        server = Server([engine], bound, Limits())
        thread = threading.Thread(target=server.run)
        thread.start()
        with httpx.Client(base_url=f"http://127.0.0.1:{bound.getsockname()[1]}") as client:
            while client.get("/v2/health/ready").status_code != 200:
                time.sleep(0.02)

            def post(path: str, content: bytes, headers: dict[str, str]) -> None:
                client.post(path, content=content, headers=headers).raise_for_status()

            kind = {"Content-Type": "image/jpeg"}
            show("GET /v2/health/live", lambda: client.get("/v2/health/live"), repeat)
            for form in ("labels", "overlay", "json"):
                path = f"/segment?as={form}"
                show(f"POST {path}", lambda path=path: post(path, jpeg, kind), repeat)
            path, body = "/v2/models/trivial/infer", head + image.tobytes()
            show("POST infer, binary tensors", lambda: post(path, body, tensor), repeat)
        server.uvicorn.should_exit = True
        thread.join()


def main() -> None:
    """Reads the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("image", nargs="?", type=Path)
    parser.add_argument("--repeat", type=int, default=30)
    options = parser.parse_args()
    jpeg = options.image.read_bytes() if options.image else encode_jpeg(drawn())
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(trivial_bundle(Path(folder) / "bundle"))
        measure(engine, jpeg, options.repeat)


if __name__ == "__main__":
    main()
