"""Graphs of a few kB whose answers are known: the class is the strongest colour channel."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = ("dark", "red", "green", "blue")
PALETTE = ((10, 10, 10), (250, 0, 0), (0, 250, 0), (0, 0, 250))


def segmenting(size: tuple[int, int] | None) -> bytes:
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


def upsampling(align_corners: bool = False, weights: np.ndarray | None = None) -> bytes:
    """A segmentor whose answers do come from its logits, four times upsampled: the exact route.

    `weights` [4,3,1,1] make the logits of the channels, 0..255.
    """
    model = onnx.load_from_string(segmenting(None))
    mode = "align_corners" if align_corners else "half_pixel"
    more = {"coordinate_transformation_mode": mode, "mode": "linear"}
    resize = helper.make_node("Resize", ["logits", "", "four"], ["full"], **more)
    nodes = list(model.graph.node)
    nodes.insert(4, resize)
    nodes[5].input[0] = nodes[7].input[0] = "full"  # ArgMax and, on the way to Softmax, Div
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    four = numpy_helper.from_array(np.array([1, 1, 4, 4], np.float32), "four")
    model.graph.initializer.append(four)
    if weights is None:
        weights = np.concatenate([np.zeros((1, 3)), np.eye(3)]).reshape(4, 3, 1, 1)
    # The confidence is that of the logits: they are divided, and not what is behind them.
    changed = {"weights": weights / 32, "bias": np.array([2, 0, 0, 0]), "scale": np.array(1)}
    for tensor in model.graph.initializer:
        if tensor.name in changed:
            value = changed[tensor.name].astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    onnx.checker.check_model(model)
    return model.SerializeToString()


def in_int8(graph: bytes) -> bytes:
    """With one more convolution that changes nothing, in INT8 of TensorRT's form."""
    model = onnx.load_from_string(graph)
    nodes, add, node = list(model.graph.node), model.graph.initializer.append, helper.make_node
    eye = np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)
    add(numpy_helper.from_array(eye, "eye"))
    given, more = [], []
    for name, scale in ("planes", 2.0), ("eye", 1 / 127):
        scales, zero = f"{name}_scale", f"{name}_zero"
        add(numpy_helper.from_array(np.float32(scale), scales))
        add(numpy_helper.from_array(np.int8(0), zero))
        q, d = f"{name}_q", f"{name}_d"
        more += [node("QuantizeLinear", [name, scales, zero], [q], q)]
        more += [node("DequantizeLinear", [q, scales, zero], [d], d)]
        given.append(d)
    more.append(node("Conv", given, ["same"], "same"))
    at = next(i for i, node in enumerate(nodes) if node.op_type == "Conv")
    nodes[at].input[0] = "same"
    del model.graph.node[:]
    model.graph.node.extend([*nodes[:at], *more, *nodes[at:]])
    onnx.checker.check_model(model)
    return model.SerializeToString()


def in_fp16(graph: bytes) -> bytes:
    """With its convolution in float16."""
    model = onnx.load_from_string(graph)
    nodes, node = list(model.graph.node), helper.make_node
    for tensor in model.graph.initializer:
        if tensor.name in ("weights", "bias"):
            halves = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(halves, tensor.name))
    at = next(i for i, node in enumerate(nodes) if node.op_type == "Conv")
    conv, output = nodes[at], nodes[at].output[0]
    before = node("Cast", [conv.input[0]], ["halves"], to=TensorProto.FLOAT16)
    after = node("Cast", ["in_halves"], [output], to=TensorProto.FLOAT)
    conv.input[0], conv.output[0] = "halves", "in_halves"
    del model.graph.node[:]
    model.graph.node.extend([*nodes[:at], before, conv, after, *nodes[at + 1 :]])
    onnx.checker.check_model(model)
    return model.SerializeToString()


def translation(keep: int = 0) -> bytes:
    """A translator: every value of the image from 255 down, those below `keep` as they are."""
    table = 255 - np.arange(256, dtype=np.uint8)
    table[:keep] = np.arange(keep)
    node, value = helper.make_node, helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            node("Cast", ["image"], ["ids"], to=TensorProto.INT32),
            node("Gather", ["table", "ids"], ["translated"]),
        ],
        "translation",
        [value("image", TensorProto.UINT8, ["N", "H", "W", 3])],
        [value("translated", TensorProto.UINT8, ["N", "H", "W", 3])],
        [numpy_helper.from_array(table, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def drawing(size: tuple[int, int] | None, palette=PALETTE) -> bytes:
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
