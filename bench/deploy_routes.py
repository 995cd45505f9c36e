"""The deployed function as people write it today: torch, and runtimes between numpy code.

Each route takes a JPEG file's content and gives the label map as a PNG file's, like ours: OpenCV
decodes and encodes, the logits are upsampled bilinearly, and the network works at one fixed size.
"""

from __future__ import annotations

import copy
import importlib
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any, NamedTuple

import cv2
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate

from adapt.networks.segmentor import Segmentor
from serve.runtime.byte_products import keep_exact

Size = tuple[int, int]
Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
OPSET = 18


class Seconds(NamedTuple):
    """What one frame took, stage by stage; NaN for a stage that the route has not."""

    decode: float
    pre: float
    network: float
    post: float
    encode: float

    @property
    def total(self) -> float:
        """The whole frame."""
        return float(np.nansum(self))


class Answer(NamedTuple):
    """Class ids uint8 [h,w], None of a route that makes none, and the time they took."""

    labels: Pixels | None
    seconds: Seconds


Route = Callable[[bytes], Answer]
"""From a JPEG file's content to a PNG file of labels."""
Network = Callable[[NDArray[Any]], Floats]
"""From normalised float32 [1,3,h,w] to logits [1,c,hs,ws], or another graph with one output."""


class Clock:
    """Seconds since it was last asked."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        before, self._last = self._last, time.perf_counter()
        return self._last - before


class Bare(nn.Module):
    """A trained network without its normalisation and its auxiliary head, logits only."""

    def __init__(self, segmentor: Segmentor) -> None:
        super().__init__()
        self.segmentor = copy.deepcopy(segmentor)
        self.normalise: nn.Module = self.segmentor.get_submodule("normalise")
        self.segmentor.register_module("normalise", nn.Identity())
        self.segmentor.register_module("aux", nn.Identity())  # a deployed network has none
        self.align_corners = segmentor.align_corners

    def forward(self, x: Tensor) -> Tensor:
        """Normalised float32 [n,3,h,w] -> logits [n,c,hs,ws]."""
        return self.segmentor(x).logits


def float_graph(bare: Bare, size: Size) -> bytes:
    """The network alone as an ONNX file of one size (h, w): float32 [1,3,h,w] in, logits out."""
    file = BytesIO()
    exported = torch.onnx.export(
        bare.eval(),
        (torch.zeros(1, 3, *size),),
        dynamo=True,
        opset_version=OPSET,
        external_data=False,
        input_names=["x"],
        output_names=["logits"],
        verbose=False,
    )
    assert exported is not None
    onnx.save(exported.model_proto, file)
    return file.getvalue()


class Torch:
    """OpenCV decodes and encodes, torch does the rest; with `compiled` each of its three parts is
    compiled, so that resizing and argmax are fused with what is around them."""

    def __init__(self, bare: Bare, size: Size, *, compiled: bool) -> None:
        self._size, self._bare = size, bare.eval()
        made: Callable[[Any], Any] = torch.compile if compiled else _as_it_is
        self._pre, self._network, self._post = made(self._before), made(bare), made(self._after)

    def __call__(self, jpeg: bytes) -> Answer:
        clock = Clock()
        image = _decoded(jpeg)
        decode = clock.lap()
        with torch.inference_mode():
            x = self._pre(torch.from_numpy(image))
            pre = clock.lap()
            logits = self._network(x)
            network = clock.lap()
            labels = self._post(logits, image.shape[0], image.shape[1]).numpy()
        post = clock.lap()
        cv2.imencode(".png", labels)
        return Answer(labels, Seconds(decode, pre, network, post, clock.lap()))

    def _before(self, image: Tensor) -> Tensor:
        x = image.permute(2, 0, 1)[None].float() / 255
        x = interpolate(x, size=self._size, mode="bilinear", align_corners=False)
        return self._bare.normalise(x)

    def _after(self, logits: Tensor, height: int, width: int) -> Tensor:
        align = self._bare.align_corners
        full = interpolate(logits, size=(height, width), mode="bilinear", align_corners=align)
        return full.argmax(1)[0].to(torch.uint8)


class WithNumpy:
    """A runtime that takes floats, between the numpy and OpenCV code that usually surrounds one."""

    def __init__(self, run: Network, bare: Bare, size: Size) -> None:
        """`size` (h, w) is the one that the network works at."""
        self._run, self._size = run, size
        constants = {k: v.flatten().numpy() for k, v in bare.normalise.state_dict().items()}
        self._mean, self._std = constants["mean"], constants["std"]
        self._order = constants.get("order")

    def __call__(self, jpeg: bytes) -> Answer:
        clock = Clock()
        image = _decoded(jpeg)
        decode = clock.lap()
        x = self._before(image)
        pre = clock.lap()
        logits = self._run(x)
        network = clock.lap()
        # All classes in one call: faster than one call a class, with the argmax behind it.
        full = cv2.resize(logits[0].transpose(1, 2, 0), (image.shape[1], image.shape[0]))
        labels = full.argmax(-1).astype(np.uint8)
        post = clock.lap()
        cv2.imencode(".png", labels)
        return Answer(labels, Seconds(decode, pre, network, post, clock.lap()))

    def _before(self, image: Pixels) -> Floats:
        height, width = self._size
        x = cv2.resize(image, (width, height)).astype(np.float32) / 255
        if self._order is not None:
            x = x[..., self._order]
        return np.ascontiguousarray(((x - self._mean) / self._std).transpose(2, 0, 1)[None])


def onnx_runtime(graph: bytes, threads: int) -> Network:
    """ONNX Runtime on the CPU, for the one input and the one output of an ONNX file."""
    ort: Any = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # of warnings there are hundreds
    keep_exact(options, graph)  # an INT8 network that answers otherwise is no floor for ours
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0].name

    def run(x: NDArray[Any]) -> Floats:
        return session.run(None, {given: x})[0]

    return run


def opencv(graph: bytes, _threads: int) -> Network:
    """OpenCV's DNN module; its threads are those of `cv2.setNumThreads`."""
    net: Any = cv2.dnn.readNetFromONNX(np.frombuffer(graph, np.uint8))

    def run(x: NDArray[Any]) -> Floats:
        net.setInput(x)
        return net.forward()

    return run


def openvino(graph: bytes, threads: int) -> Network:
    """OpenVINO on the CPU, in float32, tuned for single frames; ImportError without it."""
    ov: Any = importlib.import_module("openvino")
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    core = ov.Core()
    compiled = core.compile_model(core.read_model(graph), "CPU", settings)

    def run(x: NDArray[Any]) -> Floats:
        return compiled([x])[0]

    return run


RUNTIMES = {
    "ONNX Runtime + numpy": onnx_runtime,
    "OpenCV DNN + numpy": opencv,
    "OpenVINO + numpy": openvino,
}


def _decoded(jpeg: bytes) -> Pixels:
    bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def _as_it_is(part: Any) -> Any:
    return part
