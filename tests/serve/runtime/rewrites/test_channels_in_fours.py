import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.precision.int8 import weight_scales
from serve.runtime.byte_products import filled, fits, neighbours
from serve.runtime.rewrites import int8_on_cpu
from serve.runtime.rewrites.channels_in_fours import fill_channels
from serve.runtime.rewrites.int8_on_cpu import for_cpu


def quantised(weights, *, group=1, twice=False):
    """A convolution of int8 weights [o, i, h, w] in TensorRT's form; its input read once more."""
    constants = {"s": np.float32(0.05), "z": np.int8(0), "w": np.float32(weights) / 128}
    constants |= {
        "ws": np.full(len(weights), 1 / 128, np.float32),
        "b": np.ones(len(weights), "f4"),
    }
    constants |= {"wz": np.zeros(len(weights), np.int8), "os": np.float32(0.5)}
    node = helper.make_node
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
        node("QuantizeLinear", ["w", "ws", "wz"], ["wq"], axis=0),
        node("DequantizeLinear", ["wq", "ws", "wz"], ["wd"], axis=0),
        node("Conv", ["xd", "wd", "b"], ["c"], group=group, pads=[1, 1, 1, 1]),
        node("QuantizeLinear", ["c", "os", "z"], ["cq"]),
        node("DequantizeLinear", ["cq", "os", "z"], ["y"]),
    ]
    value = helper.make_tensor_value_info
    results = [value("y", TensorProto.FLOAT, None)]
    if twice:
        nodes.append(node("Identity", ["xd"], ["again"]))
        results.append(value("again", TensorProto.FLOAT, None))
    given = [value("x", TensorProto.FLOAT, [1, weights.shape[1] * group, 9, 11])]
    arrays = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "net", given, results, arrays)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def random_weights(*shape):
    return np.random.default_rng(0).integers(-60, 60, shape)


def ran(model, optimised):
    """The result for an image whose border matters, and the operators that made it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(optimised)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    shape = session.get_inputs()[0].shape
    x = np.random.default_rng(1).standard_normal(shape).astype("f4") * 3
    return session.run(None, {"x": x})[0], [n.op_type for n in onnx.load(optimised).graph.node]


def pads(model):
    return [node for node in model.graph.node if node.op_type == "Pad"]


@pytest.mark.parametrize("channels", [2, 3, 5])
def test_zeros_change_nothing_and_the_sum_is_still_one_of_bytes(channels, tmp_path, monkeypatch):
    model = quantised(random_weights(16, channels, 3, 3))
    found = for_cpu(model)
    assert len(pads(found)) == 1
    others = tuple(one for one in int8_on_cpu.REWRITES if one is not fill_channels)
    monkeypatch.setattr(int8_on_cpu, "REWRITES", others)
    plain = for_cpu(model)
    assert not pads(plain)
    (wanted, _), (same, kinds) = ran(plain, tmp_path / "plain"), ran(found, tmp_path / "found")
    assert np.array_equal(same, wanted)
    assert len(np.unique(wanted)) > 20
    assert kinds.count("QLinearConv") == 1 and "Conv" not in kinds


@pytest.mark.parametrize(
    "model",
    [
        quantised(random_weights(8, 4, 3, 3)),
        quantised(random_weights(8, 1, 3, 3)),
        quantised(random_weights(6, 3, 3, 3), group=2),
        quantised(random_weights(8, 3, 3, 3), twice=True),
    ],
    ids=["in fours", "one channel", "groups", "read by others"],
)
def test_others_are_left(model):
    assert not pads(for_cpu(model))


def test_what_fits_the_fast_kernels_still_does():
    """Neighbours are the first and second channel of a position once there are four: before, with
    three, also the last and the first of the next."""
    weights = np.zeros((1, 3, 1, 2), np.int64)
    weights[0, :, 0, 0] = [100, 0, 100]
    weights[0, :, 0, 1] = [100, 0, 0]  # beside the third channel's 100 only as long as it is odd
    assert neighbours(weights) == [200] and neighbours(filled(weights)) == [100]
    assert pads(for_cpu(quantised(weights)))
    weights[0, :, 0, 1] = [0, 100, 0]
    weights[0, :, 0, 0] = [0, 0, 0]
    assert neighbours(weights) == neighbours(filled(weights)) == [100]
    weights[0, :, 0, 1] = [100, 100, 0]
    assert neighbours(weights) == [100] and neighbours(filled(weights)) == [200]
    kept = for_cpu(quantised(weights))
    assert not pads(kept)
    assert fits(kept.SerializeToString())


def test_the_exporter_makes_room_for_neighbours_filled_up_or_not():
    weights = np.zeros((2, 3, 1, 2), np.float32)
    weights[0, :, 0, 1] = [1, 0.5, 0]  # neighbours in fours alone
    weights[1, 2, 0, 0], weights[1, 0, 0, 1] = 1, 0.25  # and in threes
    assert weight_scales(weights, "Conv") == pytest.approx([1.5 / 127, 1.25 / 127])


def test_two_readers_of_one_image_have_a_filled_one_each():
    model = quantised(random_weights(4, 3, 3, 3))
    node = helper.make_node
    model.graph.node.extend([
        node("DequantizeLinear", ["xq", "s", "z"], ["xd2"]),
        node("Conv", ["xd2", "wd2"], ["y2"]),
        node("DequantizeLinear", ["wq", "ws", "wz"], ["wd2"], axis=0),
    ])  # fmt: skip
    model.graph.output.append(helper.make_tensor_value_info("y2", TensorProto.FLOAT, None))
    nodes = list(model.graph.node)
    nodes[-2:] = nodes[:-3:-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    found = for_cpu(model)
    assert len({pad.name for pad in pads(found)}) == len(pads(found)) == 2
    onnxruntime.InferenceSession(found.SerializeToString(), providers=["CPUExecutionProvider"])
