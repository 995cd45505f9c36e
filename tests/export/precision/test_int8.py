from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from export.precision.calibration.calibrate import calibrate
from export.precision.graph_index import Flow
from export.precision.groups import layer_groups
from export.precision.int8 import check_int8, mean_error, to_int8, weight_scales
from export.precision.int8_nodes import LAST_READ
from roadshift import Failure, UserError
from serve.runtime.rewrites.onnx_edit import Editable

BACKBONE = "segmentor.backbone."


@pytest.fixture(scope="module")
def ranges(graph, street):
    return calibrate(graph, street.frames, "minmax")


@pytest.fixture(scope="module")
def int8(graph, ranges) -> onnx.ModelProto:
    return to_int8(graph, ranges)


@pytest.fixture
def changed(int8) -> onnx.ModelProto:
    """A copy to spoil."""
    copy = onnx.ModelProto()
    copy.CopyFrom(int8)
    return copy


def constant(model: onnx.ModelProto, name: str) -> np.ndarray:
    return numpy_helper.to_array(next(t for t in model.graph.initializer if t.name == name))


def put(model: onnx.ModelProto, name: str, values: np.ndarray) -> None:
    tensor = next(t for t in model.graph.initializer if t.name == name)
    tensor.CopyFrom(numpy_helper.from_array(values, name))


def quantised(model: onnx.ModelProto) -> set[str]:
    """The weights that are rounded."""
    pairs = [node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"]
    return {name for name in pairs if name.endswith(".weight")}


def test_labels_stay_and_only_rounding_errors_come(graph, int8, street) -> None:
    frames = [street.frame(i) for i in (10, 11, 12)]
    wanted, found = street.run(graph, frames), street.run(int8, frames)
    assert (wanted["labels"] == found["labels"]).mean() > 0.95
    error = np.abs(wanted["logits"] - found["logits"]).max()
    assert 0 < error < 0.05 * np.ptp(wanted["logits"])
    assert len(np.unique(wanted["labels"])) > 1


def test_the_interface_stays(graph, int8) -> None:
    assert int8.graph.input == graph.graph.input
    assert int8.graph.output == graph.graph.output
    assert int8.metadata_props == graph.metadata_props
    assert int8.opset_import == graph.opset_import
    onnx.checker.check_model(int8, full_check=True)


def test_the_bytes_are_the_same_every_time(graph, ranges, int8) -> None:
    before = graph.SerializeToString()
    assert to_int8(graph, ranges).SerializeToString() == int8.SerializeToString()
    assert graph.SerializeToString() == before


def test_no_constant_is_left_that_nothing_reads(int8) -> None:
    read = {name for node in int8.graph.node for name in node.input}
    names = [t.name for t in int8.graph.initializer]
    assert set(names) <= read
    assert len(names) == len(set(names))


def test_weights_have_a_scale_an_output_channel(int8) -> None:
    for layer, axis in (("stem.0", 0), ("up", 1)):
        name = f"{BACKBONE}{layer}.weight"
        weights, scales = constant(int8, name), constant(int8, f"{name}_scale")
        others = tuple(i for i in range(4) if i != axis)
        # The transposed convolution's (axis 1) reach the largest weight, the others two neighbours.
        reach = scales / (np.abs(weights).max(others) / 127)
        assert np.allclose(reach, 1) if axis else (reach >= 1 - 1e-6).all() and reach.max() < 2
        assert scales.shape == (weights.shape[axis],)
        pair = [n for n in int8.graph.node if f"{name}_scale" in n.input]
        assert [helper.get_attribute_value(n.attribute[0]) for n in pair] == [axis, axis]
        zeros = constant(int8, f"{name}_zero_point")
        assert zeros.dtype == np.int8
        assert not zeros.any()


def test_a_scale_has_room_for_two_neighbours() -> None:
    """1x1 with four inputs: 1.0 and 0.5 are added in 16 bits, and so are -0.25 and 0.5."""
    weights = np.float32([[1, 0.5, -0.25, 0.5], [0.5, -1, 0.25, 0]]).reshape(2, 4, 1, 1)
    assert weight_scales(weights, "Conv") == pytest.approx([1.5 / 127, 1 / 127])
    assert weight_scales(weights, "Gemm") == pytest.approx([1 / 127, 1 / 127])
    # 3x3: the inputs of one position of the kernel are neighbours, not the positions.
    kernel = np.zeros((1, 2, 3, 3), np.float32)
    kernel[0, :, 1, 1], kernel[0, 0, 0, :2] = [1, 0.25], [1, 1]
    assert weight_scales(kernel, "Conv") == pytest.approx([1.25 / 127])


def test_what_rounding_adds_on_average() -> None:
    """Steps of 1 / 127: 0.5 is 63.5 of them and becomes 64, 0.25 is 31.75 and becomes 32."""
    weights = np.float32([[1, 0, 0.5, 0], [1, 0, 0, 0.25]]).reshape(2, 4, 1, 1)
    means = np.array([5.0, 0, 2, 4])
    assert mean_error(weights, means) == pytest.approx([2 * 0.5 / 127, 4 * 0.25 / 127], rel=1e-4)
    apart = np.float32([[1, 0.5], [1, 0.25]]).reshape(2, 1, 1, 2)  # two groups, one input each
    scale = np.float32(1.5 / 127)
    off = (np.rint(np.float32([1, 0.5]) / scale) * scale).sum() - 1.5
    scale = np.float32(1.25 / 127)
    other = (np.rint(np.float32([1, 0.25]) / scale) * scale).sum() - 1.25
    found = mean_error(apart, np.array([2.0, 3]))
    assert found == pytest.approx([2 * off, 3 * other], rel=1e-3, abs=1e-7)


def test_the_biases_give_back_what_rounding_adds(graph, int8, ranges, street) -> None:
    """To the first convolution, of which only the weights are rounded here: the means of its
    channels stay, but for the zeros around the map."""
    uncorrected = replace(ranges, means={name: [0.0] * len(m) for name, m in ranges.means.items()})
    plain = to_int8(graph, uncorrected)
    wanted, *found = (first_convolution(m, street) for m in (graph, int8, plain))
    off, without = (abs((x - wanted).mean((0, 2, 3))).max() for x in found)
    assert off < without / 5


def first_convolution(model: onnx.ModelProto, street) -> np.ndarray:
    """What it makes of the frames when nothing but weights is rounded."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    edited = Editable(copy)
    for node in list(edited.nodes):
        if node.op_type == "QuantizeLinear" and edited.constant(node.input[0]) is None:
            edited.bypass(node, *edited.readers(node.output[0]))
    edited.store()
    made = next(node for node in copy.graph.node if node.op_type == "Conv").output[0]
    copy.graph.output.append(helper.make_tensor_value_info(made, 1, None))
    return street.run(copy, street.frames)[made]


def test_activations_span_their_range(int8, ranges) -> None:
    for name, (low, high) in ranges.bounds.items():
        assert constant(int8, f"{name}_scale") == np.float32(max(-low, high) / 127)


@pytest.mark.parametrize("exact", [False, True])
def test_the_last_layers_are_not_rounded_nor_on_demand_what_they_alone_read(
    graph, ranges, exact
) -> None:
    """One of the two heads reads what a gate reads as well, one what a convolution made for it."""
    int8 = to_int8(graph, ranges, {LAST_READ} if exact else set())
    assert {f"{BACKBONE}mix.weight", f"{BACKBONE}up.weight"} <= quantised(int8)
    assert not [name for name in quantised(int8) if "head" in name]
    flow = Flow(int8)
    heads = [n for n in flow.nodes if n.op_type == "Conv" and ".head." in n.input[1]]
    read = sorted(flow.producer[n.input[0]].op_type for n in heads)
    assert read == (["Relu", "Relu"] if exact else ["DequantizeLinear", "Relu"])
    assert {n.op_type for n in flow.nodes if n.name in flow.tail} >= {"Conv", "Resize", "ArgMax"}


def test_nothing_is_rounded_between_a_layer_and_its_activation(int8) -> None:
    flow = Flow(int8)
    relus = [n for n in flow.nodes if n.op_type in {"Relu", "Clip"}]
    before = Counter(flow.producer[n.input[0]].op_type for n in relus)
    assert before["Conv"] >= 2
    assert before["Add"] == 1
    assert not before["DequantizeLinear"]


def test_kept_groups_stay_as_they_were(graph, int8, ranges, street) -> None:
    group = f"{BACKBONE}block.0"
    mixed = to_int8(graph, ranges, {group})
    assert quantised(int8) - quantised(mixed) == {f"{group}.weight"}
    check_int8(mixed)
    alone = to_int8(graph, ranges, layer_groups(graph).keys() - {group})
    assert quantised(alone) == {f"{group}.weight"}
    wanted = street.run(graph, street.frames)["logits"]
    errors = [
        np.abs(street.run(model, street.frames)["logits"] - wanted).mean()
        for model in (int8, mixed, alone)
    ]
    assert 0 < errors[2] < errors[0]


def test_a_group_that_there_is_not(graph, ranges) -> None:
    with pytest.raises(UserError, match=r"unknown layer group 'segmentor.backbone.gat': did you"):
        to_int8(graph, ranges, {f"{BACKBONE}gat"})


def test_nothing_left_to_quantise(graph, ranges) -> None:
    with pytest.raises(Failure, match="no quantised node"):
        to_int8(graph, ranges, layer_groups(graph).keys())


def test_a_layer_that_is_always_zero_stays_float32(graph, street) -> None:
    dead = onnx.ModelProto()
    dead.CopyFrom(graph)
    for kind in ("weight", "bias"):
        name = f"{BACKBONE}block.0.{kind}"
        put(dead, name, np.zeros_like(constant(dead, name)))
    ranges = calibrate(dead, street.frames, "entropy")
    assert 0.0 in {ranges.bound(name) for name in ranges.bounds}
    model = to_int8(dead, ranges)
    assert f"{BACKBONE}block.2.weight" not in quantised(model)
    assert np.isfinite(street.run(model, street.frames)["logits"]).all()


def test_the_check_passes_what_is_right_and_refuses_float32(graph, int8) -> None:
    check_int8(int8)
    with pytest.raises(Failure, match="no quantised node"):
        check_int8(graph)


@pytest.mark.parametrize(
    ("scale", "reason"), [(np.nan, "scale"), (np.inf, "scale"), (0.0, "scale"), (-1.0, "scale")]
)
def test_the_check_sees_wild_scales(changed, scale, reason) -> None:
    name = f"{BACKBONE}mix.weight_scale"
    scales = constant(changed, name).copy()
    scales[3] = scale
    put(changed, name, scales)
    with pytest.raises(Failure, match=r"a scale of QuantizeLinear .*mix.weight.* not a positive"):
        check_int8(changed)


def test_the_check_sees_zero_points(changed) -> None:
    name = f"{BACKBONE}mix.weight_zero_point"
    zeros = constant(changed, name).copy()
    zeros[0] = 1
    put(changed, name, zeros)
    with pytest.raises(Failure, match="zero point that is not 0"):
        check_int8(changed)
    put(changed, name, np.full(zeros.shape, 128, np.uint8))
    with pytest.raises(Failure, match="makes no int8"):
        check_int8(changed)


def test_the_check_sees_a_quantised_bias(changed) -> None:
    conv = next(n for n in changed.graph.node if f"{BACKBONE}mix.weight_dequantized" in n.input)
    for name, value in (("s", np.float32(0.01)), ("z", np.int8(0)), ("b", np.ones(12, np.int8))):
        changed.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    conv.input[2] = "bq"
    changed.graph.node.insert(0, helper.make_node("DequantizeLinear", ["b", "s", "z"], ["bq"], "d"))
    with pytest.raises(Failure, match=r"the bias of Conv .* is quantised"):
        check_int8(changed)


@pytest.mark.parametrize("op", ["ArgMax", "Resize"])
def test_the_check_sees_rounded_logits(changed, op) -> None:
    node = [n for n in changed.graph.node if n.op_type == op][-1]
    for name, value in (("s", np.float32(0.01)), ("z", np.int8(0))):
        changed.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    at = list(changed.graph.node).index(node)
    pair = [
        helper.make_node("QuantizeLinear", [node.input[0], "s", "z"], ["q"], "quantise"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["dq"], "dequantise"),
    ]
    node.input[0] = "dq"
    for new in reversed(pair):
        changed.graph.node.insert(at, new)
    with pytest.raises(Failure, match="behind the last layer: a quantised Resize or ArgMax"):
        check_int8(changed)
