import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_plan import SIZE, frame, reconstructor, segmentor

from export.tensorrt.uint8_border import at_border
from roadshift import Failure
from serve.runtime.rewrites.prune import prune

UINT8, FLOAT = TensorProto.UINT8, TensorProto.FLOAT


def run(content, *given):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return session.run(None, dict(zip(names, given, strict=True)))[0]


def inner_bytes(content):
    """What is uint8 between the nodes, which TensorRT's parser refuses."""
    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(content)).graph
    ends = {value.name for value in (*graph.input, *graph.output)}
    values = (v for v in graph.value_info if v.name not in ends)
    return [v.name for v in values if v.type.tensor_type.elem_type == UINT8]


def small(nodes, output=UINT8, constants=(), kind=UINT8):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "small",
        [value("x", kind, [4])],
        [value("y", output, [4])],
        [numpy_helper.from_array(v, k) for k, v in dict(constants).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


@pytest.mark.parametrize("size", [None, SIZE], ids=str)
@pytest.mark.parametrize("output", ["labels", "logits"])
def test_the_segmentor_gives_the_same(size, output):
    before = prune(segmentor(size), [output])
    after = at_border(before, (-1, *SIZE, 3))
    assert inner_bytes(before) == ["planes"]
    assert inner_bytes(after) == []
    frames = np.stack([frame(1), frame(2)])
    answer = run(after, frames)
    assert (answer == run(before, frames)).all()
    assert answer.dtype == (np.uint8 if output == "labels" else np.float32)
    assert len(np.unique(answer)) > 1


def test_the_reconstructor_gives_the_same():
    before = reconstructor(None)
    after = at_border(before, (1, *SIZE))
    assert inner_bytes(before) == ["drawn", "planes"]
    assert inner_bytes(after) == []
    labels = np.random.default_rng(0).integers(0, 4, (1, *SIZE), dtype=np.uint8)
    assert (run(after, labels) == run(before, labels)).all()


def test_only_uint8_and_floats_are_cast_into_each_other():
    """TensorRT promises no other cast from or to uint8; labels are int64 before."""
    content = at_border(prune(segmentor(None), ["labels"]), (1, *SIZE, 3))
    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(content)).graph
    values = (*graph.input, *graph.output, *graph.value_info)
    kinds = {v.name: v.type.tensor_type.elem_type for v in values}
    casts = [(kinds[n.input[0]], kinds[n.output[0]]) for n in graph.node if n.op_type == "Cast"]
    assert (TensorProto.INT64, FLOAT) in casts
    assert {pair for pair in casts if UINT8 in pair} == {(UINT8, FLOAT), (FLOAT, UINT8)}


def test_what_is_known_of_the_input_is_fixed():
    content = at_border(prune(segmentor(None), ["labels"]), (-1, *SIZE, 3))
    given = onnx.load_from_string(content).graph.input[0].type.tensor_type.shape.dim
    assert [axis.dim_value or axis.dim_param for axis in given] == ["n", *SIZE, 3]


def test_a_cast_drops_fractions_as_before():
    nodes = [
        helper.make_node("Cast", ["x"], ["b"], to=UINT8),
        helper.make_node("Identity", ["b"], ["i"]),
        helper.make_node("Cast", ["i"], ["y"], to=FLOAT),
    ]
    before = small(nodes, FLOAT, kind=FLOAT)
    x = np.array([0.2, 1.9, 254.5, 255], np.float32)
    answer = run(at_border(before, (4,)), x)
    assert answer.tolist() == [0, 1, 254, 255] == run(before, x).tolist()


def test_a_weight_in_bytes_becomes_floats():
    nodes = [
        helper.make_node("Concat", ["x", "table"], ["all"], axis=0),
        helper.make_node("Gather", ["all", "places"], ["y"]),
    ]
    table = np.array([200, 255], np.uint8)
    before = small(nodes, constants={"table": table, "places": np.array([5, 0, 4, 3])})
    x = np.array([1, 2, 3, 4], np.uint8)
    after = at_border(before, (4,))
    assert inner_bytes(after) == []
    assert run(after, x).tolist() == [255, 1, 200, 4]


def test_calculating_in_bytes_is_refused_by_name():
    nodes = [helper.make_node("Add", ["x", "x"], ["y"], name="twice")]
    with pytest.raises(Failure, match=r"operator Add \(node 'twice'\) calculates in uint8"):
        at_border(small(nodes), (4,))


def test_quantising_in_bytes_is_refused_by_name():
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    constants = {"scale": np.float32(0.1), "zero": np.uint8(0)}
    with pytest.raises(Failure, match=r"operator QuantizeLinear \(node 'q'\) calculates in uint8"):
        at_border(small(nodes, FLOAT, constants, FLOAT), (4,))


def test_signed_quantisation_stays_as_it_is():
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    constants = {"scale": np.float32(0.5), "zero": np.int8(0)}
    after = onnx.load_from_string(at_border(small(nodes, FLOAT, constants, FLOAT), (4,)))
    assert list(after.graph.node) == nodes


def test_a_branch_that_reads_bytes_from_outside():
    """They are not followed into it, and a broken graph is not handed on."""
    branch = helper.make_graph(
        [helper.make_node("Cast", ["t"], ["z"], to=FLOAT)],
        "branch",
        [],
        [helper.make_tensor_value_info("z", FLOAT, [4])],
    )
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], name="t", perm=[0]),
        helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch),
    ]
    before = small(nodes, FLOAT, {"yes": np.array(True)})
    with pytest.raises(Failure, match="cannot be made ready for TensorRT: "):
        at_border(before, (4,))
