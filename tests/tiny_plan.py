"""A bundle whose graphs take uint8 pictures as exported ones do, and a machine to plan it on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from cuda_double import Cuda
from onnx import TensorProto, helper, numpy_helper
from tensorrt_double import TensorRT

from export.bundle import Bundle, Golden, write_bundle
from export.tensorrt.options import Wish

SIZE = (16, 24)
PALETTE = ((0, 0, 0), (250, 0, 0), (0, 250, 0))


def _model(nodes: list, values: list, constants: dict[str, Any]) -> bytes:
    """`values` are name, type and axes of the input and then of the outputs."""
    infos = [helper.make_tensor_value_info(*value) for value in values]
    weights = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "tiny", infos[:1], infos[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def segmentor(size: tuple[int, int] | None, bias: float = 0.0) -> bytes:
    """Logits at a quarter of the size, upsampled: the class is the strongest of three mixtures."""
    h, w = size or ("height", "width")
    rng = np.random.default_rng(3)
    weights = rng.normal(0, 0.02, (3, 3, 4, 4)).astype(np.float32)
    node = helper.make_node
    nodes = [
        node("Transpose", ["image"], ["planes"], name="first", perm=[0, 3, 1, 2]),
        node("Cast", ["planes"], ["real"], to=TensorProto.FLOAT),
        node("Conv", ["real", "weights", "bias"], ["logits"], strides=[4, 4]),
        node("Shape", ["image"], ["hw"], start=1, end=3),
        node("Shape", ["logits"], ["nc"], start=0, end=2),
        node("Concat", ["nc", "hw"], ["full_size"], axis=0),
        node("Resize", ["logits", "", "", "full_size"], ["full"], mode="linear"),
        node("ArgMax", ["full"], ["best"], axis=1, keepdims=0),
        node("Cast", ["best"], ["labels"], to=TensorProto.UINT8),
    ]
    values = [
        ("image", TensorProto.UINT8, ["n", h, w, 3]),
        ("labels", TensorProto.UINT8, ["n", h, w]),
        ("logits", TensorProto.FLOAT, ["n", 3, "h", "w"]),
    ]
    shift = np.array([0, bias, 0], np.float32)
    return _model(nodes, values, {"weights": weights, "bias": shift})


def reconstructor(size: tuple[int, int] | None) -> bytes:
    """Every class in its colour, drawn in uint8 between the nodes."""
    h, w = size or ("height", "width")
    table = np.zeros((256, 3), np.uint8)
    table[: len(PALETTE)] = PALETTE
    node = helper.make_node
    nodes = [
        node("Cast", ["labels"], ["ids"], to=TensorProto.INT32),
        node("Gather", ["table", "ids"], ["drawn"]),
        node("Transpose", ["drawn"], ["planes"], perm=[0, 3, 1, 2]),
        node("Transpose", ["planes"], ["image"], perm=[0, 2, 3, 1]),
    ]
    values = [
        ("labels", TensorProto.UINT8, ["n", h, w]),
        ("image", TensorProto.UINT8, ["n", h, w, 3]),
    ]
    return _model(nodes, values, {"table": table})


def answer(content: bytes, given: np.ndarray, output: str) -> np.ndarray:
    """The output of a graph for one picture, on ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run([output], {session.get_inputs()[0].name: given[None]})[0][0]


def frame(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def make_bundle(folder: Path, *, size=None, frames=(SIZE,), route="exact", bias=0.0) -> Bundle:
    """A bundle in fp32 and fp16, with a reconstructor; `bias` makes the fp16 graph another one."""
    bundle = Bundle(
        folder=folder,
        name="tiny",
        classes=("dark", "red", "green"),
        palette=PALETTE,
        size=size,
        min_size=size or (8, 8),
        precisions=("fp32", "fp16"),
        align_corners=False,
        route=route,
        opset=18,
        provenance={},
        scores={},
        checks={
            "precisions": {"fp32": {"min_agreement": 0.999}, "fp16": {"min_agreement": 0.95}},
            "reconstructor": {"min_psnr": 40.0},
        },
        files={},
    )
    whole, drawing = segmentor(size), reconstructor(size)
    images = [frame(i, hw) for i, hw in enumerate(frames)]
    golden = [Golden(image, answer(whole, image, "labels")) for image in images]
    contents = {
        "segmentor.onnx": whole,
        "segmentor.fp16.onnx": segmentor(size, bias),
        "reconstructor.onnx": drawing,
        "report.md": b"# tiny\n",
        "report.html": b"<p>tiny</p>",
    }
    rebuilt = [answer(drawing, one.labels, "image") for one in golden]
    return write_bundle(bundle, contents, golden, {"rebuilt": rebuilt})


def wish(**changes: Any) -> Wish:
    fields = {"graph": "segmentor", "precision": "fp32", "output": "labels", "size": SIZE}
    return Wish(**(fields | changes))


@contextmanager
def machine(version: str = "10.3.0", compute: tuple[int, int] = (8, 7)) -> Iterator[Any]:
    """A device with that TensorRT, `trt`, and CUDA, `cuda`; all must be given back at the end."""
    cuda = Cuda(compute)
    trt = TensorRT(version, cuda)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "tensorrt", trt)
        patch.setitem(sys.modules, "cuda.bindings.runtime", cuda)
        yield SimpleNamespace(trt=trt, cuda=cuda)
