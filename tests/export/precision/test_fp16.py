from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.precision.calibration.calibrate import calibrate
from export.precision.fp16 import to_fp16
from export.precision.graph_index import Flow, prepared
from export.precision.groups import layer_groups
from roadshift import Failure

BACKBONE = "segmentor.backbone."


@pytest.fixture(scope="module")
def ranges(graph, street):
    return calibrate(graph, street.frames, "minmax")


@pytest.fixture(scope="module")
def fp16(graph, ranges) -> onnx.ModelProto:
    return to_fp16(graph, ranges)


def weight_types(model: onnx.ModelProto) -> dict[str, int]:
    """Of the layers' weights, by the names that they had in float32."""
    layers = ("Conv", "ConvTranspose")
    constants = {t.name: t.data_type for t in model.graph.initializer}
    read = [node.input[1] for node in model.graph.node if node.op_type in layers]
    return {name.removesuffix(" float16"): constants[name] for name in read}


def types(model: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    return {v.name: v.type.tensor_type.elem_type for v in (*inferred.value_info, *inferred.output)}


def test_labels_stay_and_every_layer_is_float16(graph, fp16, street) -> None:
    frames = [street.frame(i) for i in (10, 11, 12)]
    wanted, found = street.run(graph, frames), street.run(fp16, frames)
    assert set(weight_types(fp16).values()) == {TensorProto.FLOAT16}
    assert len(weight_types(fp16)) == len(weight_types(graph)) == 8
    assert found["logits"].dtype == np.float32
    assert found["labels"].dtype == found["confidence"].dtype == np.uint8
    assert (wanted["labels"] == found["labels"]).mean() > 0.999
    error = np.abs(wanted["logits"] - found["logits"]).max()
    assert 0 < error < 0.005 * np.ptp(wanted["logits"])


def test_the_interface_stays(graph, fp16, ranges) -> None:
    before = graph.SerializeToString()
    assert to_fp16(graph, ranges).SerializeToString() == fp16.SerializeToString()
    assert graph.SerializeToString() == before
    assert fp16.graph.input == graph.graph.input
    assert fp16.graph.output == graph.graph.output
    assert fp16.metadata_props == graph.metadata_props
    assert fp16.ByteSize() < graph.ByteSize()
    read = {name for node in fp16.graph.node for name in node.input}
    assert {t.name for t in fp16.graph.initializer} <= read


def test_the_tail_and_the_sums_are_float32(graph, fp16) -> None:
    kinds, flow = types(fp16), Flow(prepared(graph))
    tail = [node for node in flow.nodes if node.name in flow.tail and not flow.is_weighted(node)]
    assert {"Resize", "Add", "ArgMax", "Exp", "Reciprocal"} <= {node.op_type for node in tail}
    mean = [node for node in flow.nodes if node.op_type == "ReduceMean"]
    assert len(mean) == 1
    for node in (*mean, *tail):
        assert not [n for n in node.output if flow.is_float(n) and kinds[n] != TensorProto.FLOAT]


def test_a_tensor_is_cast_once_and_only_where_the_type_changes(graph, fp16) -> None:
    casts = [node for node in fp16.graph.node if node.op_type == "Cast"]
    old = Counter(node.op_type for node in graph.graph.node)["Cast"]
    # Into the mean and back (the gate's layer follows), and out of both last layers.
    assert len(casts) - old == 4
    assert len({node.input[0] for node in casts}) == len(casts)
    made = {name for node in casts for name in node.output}
    assert not [node for node in casts if node.input[0] in made]


def test_batch_norms_are_folded_before_they_are_rounded(street) -> None:
    """A variance that float16 would make 0."""
    x = helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", "h", "w", 3])
    y = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 3, "h", "w"])
    constants = {
        "w": np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1),
        "gamma": np.full(3, 1e-6, np.float32),
        "beta": np.array([0.0, 1.0, 2.0], np.float32),
        "mean": np.full(3, 100.0, np.float32),
        "var": np.full(3, 1e-12, np.float32),
    }
    nodes = [
        helper.make_node("Transpose", ["image"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["t"], ["f"], to=TensorProto.FLOAT),
        helper.make_node(
            "BatchNormalization", ["f", "gamma", "beta", "mean", "var"], ["b"], epsilon=1e-12
        ),
        helper.make_node("Conv", ["b", "w"], ["out"]),
    ]
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], tensors),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    half = to_fp16(model, None)
    assert "BatchNormalization" not in {node.op_type for node in half.graph.node}
    wanted, found = (street.run(m, street.frames)["out"] for m in (model, half))
    assert np.allclose(found, wanted, atol=0.1)  # of up to 110
    assert np.ptp(wanted) > 100


def test_values_that_float16_does_not_hold_stay_float32(graph, ranges, street) -> None:
    stem = f"{BACKBONE}stem.0.weight"
    large = onnx.ModelProto()
    large.CopyFrom(graph)
    tensor = next(t for t in large.graph.initializer if t.name == stem)
    tensor.CopyFrom(numpy_helper.from_array(1e5 * numpy_helper.to_array(tensor), stem))
    assert weight_types(to_fp16(large, None))[stem] == TensorProto.FLOAT
    written = next(n for n in graph.graph.node if stem in n.input).output[0]
    wide = dataclasses.replace(ranges, largest={**ranges.largest, written: 8200.0})
    half = to_fp16(graph, wide)
    kinds = weight_types(half)
    assert kinds.pop(stem) == TensorProto.FLOAT
    assert set(kinds.values()) == {TensorProto.FLOAT16}
    assert np.isfinite(street.run(half, street.frames)["logits"]).all()
    near = dataclasses.replace(ranges, largest={**ranges.largest, written: 8000.0})
    assert weight_types(to_fp16(graph, near))[stem] == TensorProto.FLOAT16


def test_kept_groups_stay_as_they_were(graph, ranges) -> None:
    kinds = weight_types(to_fp16(graph, ranges, {f"{BACKBONE}block.0", f"{BACKBONE}up"}))
    kept = {name for name, kind in kinds.items() if kind == TensorProto.FLOAT}
    assert kept == {f"{BACKBONE}block.0.weight", f"{BACKBONE}up.weight"}
    with pytest.raises(Failure, match="no layer of this graph can be float16"):
        to_fp16(graph, ranges, layer_groups(graph).keys())


def test_branches_are_refused(graph) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    part = helper.make_graph([], "part", [], [])
    model.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=part))
    with pytest.raises(Failure, match="parts within parts"):
        to_fp16(model, None)


def test_constants_as_nodes_are_weights_too(graph, fp16, street) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    for tensor in reversed(list(model.graph.initializer)):
        node = helper.make_node("Constant", [], [tensor.name], value=tensor)
        model.graph.node.insert(0, node)
    del model.graph.initializer[:]
    wanted, found = (street.run(m, street.frames) for m in (fp16, to_fp16(model, None)))
    assert np.array_equal(wanted["logits"], found["logits"])


def test_the_reconstructor(street) -> None:
    """Labels in, an image out; instance normalisation and the final rounding stay float32."""
    import torch  # noqa: PLC0415 - only here

    from adapt.networks.image_generator import Reconstructor  # noqa: PLC0415
    from export.graph import image_graph, reconstructor  # noqa: PLC0415

    torch.manual_seed(0)
    network = Reconstructor(3, 4, 1)
    for p in network.parameters():
        if p.ndim > 1:
            torch.nn.init.normal_(p, std=0.1)
    model = image_graph.to_onnx(reconstructor.drawing(network.eval(), None), None)
    half = to_fp16(model, None)
    labels = np.kron(np.random.default_rng(0).integers(0, 3, (4, 6)), np.ones((16, 16), int))
    wanted, found = (street.run(m, [labels.astype(np.uint8)])["image"] for m in (model, half))
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - wanted).max() <= 2
    assert wanted.std() > 5
    normal = [n for n in half.graph.node if "Normalization" in n.op_type]
    kinds = types(half)
    assert {kinds[name] for node in normal for name in node.output} <= {TensorProto.FLOAT}
    assert TensorProto.FLOAT16 in kinds.values()
