"""A bundle as a server runs it, and the floor below it: its codec and the bare network."""

from __future__ import annotations

import math

import numpy as np
import onnx
from deploy_routes import Answer, Clock, Floats, Network, Pixels, Seconds, Size
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnx.utils import Extractor

from serve.device_check.placement import CONVOLUTIONS
from serve.media.codec import decode, encode_png
from serve.runtime.engine import Engine

QUANTISE = ("QuantizeLinear", "Pad", "DequantizeLinear")
"""Between floats and the first layer; the Pad fills up their channels."""


class Ours:
    """A bundle's engine between the server's decoder and encoder.

    The picture is prepared in the same call as the network. What it takes of that call is measured
    by preparing it once more, alone, when the frame is done: on the host, and in the graph up to
    the network. `network` is the rest of the call, and holds `post` too where the engine's route is
    the dense one.
    """

    def __init__(self, engine: Engine, front: Network) -> None:
        """`front` is the part of the engine's graph up to the network, see `halves`."""
        self._engine, self._front = engine, front

    def __call__(self, jpeg: bytes) -> Answer:
        clock = Clock()
        images = decode(jpeg)[None]
        decoded = clock.lap()
        labels, ran, post = self._labels(images, clock)
        encode_png(labels)
        encoded = clock.lap()
        sessions = self._engine.sessions
        self._front(sessions.prepared(images) if sessions.prepares else images)
        pre = clock.lap()
        return Answer(labels, Seconds(decoded, pre, ran - pre, post, encoded))

    def _labels(self, images: Pixels, clock: Clock) -> tuple[Pixels, float, float]:
        """What `engine.segment` does, in its two steps."""
        if self._engine.route == "dense":
            return self._engine.segment(images).labels[0], clock.lap(), math.nan
        logits = self._engine.run(images, ["logits"])["logits"]
        ran = clock.lap()
        labels = self._engine.upsampled(logits, images.shape[1:3])[0]
        return labels, ran, clock.lap()


class Floor:
    """Decoding, the network on floats that lie ready, encoding labels that lie ready: no more."""

    def __init__(self, run: Network, x: Floats, labels: Pixels) -> None:
        """`x` [1,3,h,w] is what the network is given; `labels` [h,w] are those encoded."""
        self._run, self._x, self._labels = run, x, labels

    def __call__(self, jpeg: bytes) -> Answer:
        clock = Clock()
        decode(jpeg)
        decoded = clock.lap()
        self._run(self._x)
        network = clock.lap()
        encode_png(self._labels)
        return Answer(None, Seconds(decoded, math.nan, network, math.nan, clock.lap()))


def halves(model: onnx.ModelProto, size: Size) -> tuple[bytes, bytes]:
    """A segmentor's graph in two: up to the floats [1,3,h,w] that its first layer reads, and on.

    `size` (h, w) is that of the floats, whatever the frame's. Raises ValueError for a graph that
    has no convolution.
    """
    made = {name: node for node in model.graph.node for name in node.output}
    first = next((node for node in model.graph.node if node.op_type in CONVOLUTIONS), None)
    if first is None:
        raise ValueError("the graph has no convolution")
    name = _floats_behind(first.input[0], made)
    whole = onnx.shape_inference.infer_shapes(model)
    known = [value for value in whole.graph.value_info if value.name != name]
    del whole.graph.value_info[:]
    floats = helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, *size])
    whole.graph.value_info.extend([*known, floats])
    front = Extractor(whole).extract_model([whole.graph.input[0].name], [name])
    planes = whole.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    _fix_shapes(whole.graph, [1, 3, *size] if planes else [1, *size, 3])
    network = Extractor(whole).extract_model([name], ["logits"])
    return front.SerializeToString(), network.SerializeToString()


def _fix_shapes(graph: onnx.GraphProto, shape: list[int]) -> None:
    """Makes what is asked of the picture's shape a constant: layers behind use its batch size."""
    asking = [n for n in graph.node if n.op_type == "Shape" and n.input[0] == graph.input[0].name]
    for node in asking:
        part = {a.name: a.i for a in node.attribute}
        value = np.array(shape[part.get("start", 0) : part.get("end", len(shape))], np.int64)
        graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
        graph.node.remove(node)


def _floats_behind(name: str, made: dict[str, NodeProto]) -> str:
    """The tensor that was rounded to become this one, or this one."""
    while name in made and made[name].op_type in QUANTISE:
        name = made[name].input[0]
    return name
