"""The part of a graph that the host does: the same logits come out."""

from __future__ import annotations

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn.functional import interpolate

from serve.runtime.rewrites import host_preprocessing
from serve.runtime.rewrites.host_preprocessing import planes_of, without_front

WORK = (24, 40)
SIZES = [(24, 40), (48, 80), (33, 47), (90, 61), (16, 16)]


def network(**resize) -> onnx.ModelProto:
    """bytes -> planes -> resized -> a convolution, whose output is reshaped by the batch size."""
    weights = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    constants = {
        "weights": weights,
        "size": np.array([3, *WORK], np.int64),
        "rest": np.array([4, 12, 20], np.int64),
    }
    node = helper.make_node
    resize = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"} | resize
    nodes = [
        node("Shape", ["image"], ["n"], start=0, end=1),
        node("Transpose", ["image"], ["moved"], perm=[0, 3, 1, 2]),
        node("Cast", ["moved"], ["floats"], to=TensorProto.FLOAT),
        node("Concat", ["n", "size"], ["wanted"], axis=0),
        node("Resize", ["floats", "", "", "wanted"], ["planes"], **resize),
        node("Conv", ["planes", "weights"], ["scores"], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Concat", ["n", "rest"], ["shape"], axis=0),
        node("Reshape", ["scores", "shape"], ["logits"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "front",
        [value("image", TensorProto.UINT8, ["n", "h", "w", 3])],
        [value("logits", TensorProto.FLOAT, ["n", 4, 12, 20])],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def run(model: onnx.ModelProto, given: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {session.get_inputs()[0].name: given})[0]


def images(size: tuple[int, int], n: int = 2) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, *size, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", SIZES)
def test_planes_are_torchs(size) -> None:
    given = images(size)
    planes = torch.from_numpy(given).permute(0, 3, 1, 2).float()
    wanted = interpolate(planes, size=WORK, mode="bilinear", align_corners=False).numpy()
    assert np.abs(planes_of(given, WORK) - wanted).max() < 1e-3  # of 255


@pytest.mark.parametrize("size", [(24, 40), (48, 80), (72, 40), (48, 200)])
@pytest.mark.parametrize("band", [1, 500, 4000])
def test_bands_give_the_numbers_of_the_whole_frame(size, band, monkeypatch) -> None:
    given, taken = images(size), []
    whole = planes_of(given, WORK)
    resize = cv2.resize
    monkeypatch.setattr(host_preprocessing, "BAND", band)
    monkeypatch.setattr(
        cv2, "resize", lambda a, *b, **c: taken.append(len(a)) or resize(a, *b, **c)
    )
    assert np.array_equal(planes_of(given, WORK), whole)
    assert all(rows * size[1] <= max(band, size[1] * size[0] // WORK[0]) for rows in taken)


def test_a_frame_of_another_ratio_is_resized_as_a_whole(monkeypatch) -> None:
    given = images((90, 80))
    whole = planes_of(given, WORK)
    monkeypatch.setattr(host_preprocessing, "BAND", 1)
    assert np.array_equal(planes_of(given, WORK), whole)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("n", [1, 2])
def test_the_rest_of_the_graph_gives_the_same_logits(size, n) -> None:
    model = network()
    rest = without_front(model, WORK)
    assert rest is not None
    assert not {"Transpose", "Cast", "Resize"} & {node.op_type for node in rest.graph.node}
    given = images(size, n)
    wanted, found = run(model, given), run(rest, planes_of(given, WORK))
    assert np.abs(wanted - found).max() < 1e-5 * np.ptp(wanted)


def test_an_fp16_graph_is_fed_fp16_planes() -> None:
    """As export.precision.fp16 makes it: the bytes are cast to float16 and resized as such."""
    model = network()
    model.graph.node[2].attribute[0].i = TensorProto.FLOAT16
    model.graph.initializer[0].CopyFrom(
        numpy_helper.from_array(
            numpy_helper.to_array(model.graph.initializer[0]).astype("f2"), "weights"
        )
    )
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    rest = without_front(model, WORK)
    assert rest is not None
    given = images((48, 80))
    planes = planes_of(given, WORK).astype(np.float16)
    wanted, found = run(model, given), run(rest, planes)
    assert np.abs(wanted - found).max() < 2e-3 * np.ptp(wanted)


@pytest.mark.parametrize(
    "other",
    [
        {"mode": "nearest"},
        {"antialias": 1},
        {"coordinate_transformation_mode": "align_corners"},
    ],
)
def test_another_resize_stays_in_the_graph(other) -> None:
    assert without_front(network(**other), WORK) is None


def test_a_graph_that_needs_the_frame_later_keeps_its_front() -> None:
    model = network()
    model.graph.node[0].attribute[1].i = 2  # asks for the frame's height too
    model.graph.node.append(helper.make_node("Identity", ["floats"], ["frame"]))
    model.graph.output.append(
        helper.make_tensor_value_info("frame", TensorProto.FLOAT, ["n", 3, "h", "w"])
    )
    assert without_front(model, WORK) is None
