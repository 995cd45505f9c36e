from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

from serve.runtime.byte_products import keep_exact
from serve.runtime.rewrites.int8_on_cpu import for_cpu

TENSORRT = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "QuantizeBias": False,
    "AddQDQPairToWeight": True,
    "QDQDisableWeightAdjustForInt32Bias": True,
    "DedicatedQDQPair": False,
}


class Frames(CalibrationDataReader):
    def __init__(self):
        self.frames = iter([{"x": x} for x in inputs()])

    def get_next(self):
        return next(self.frames, None)


def inputs():
    rng = np.random.default_rng(1)
    return [rng.standard_normal((1, 8, 12, 16), np.float32) for _ in range(4)]


def network():
    """Three convolutions with a Relu, a Clip, a sum and a maximum between them."""
    rng = np.random.default_rng(0)
    constants = {"low": np.float32(0), "high": np.float32(6)}
    for k, width in enumerate((16, 16, 5)):
        weights = rng.standard_normal((width, 8 if k == 0 else 16, 3, 3), np.float32) / 8
        constants |= {f"w{k}": weights, f"b{k}": rng.standard_normal(width, np.float32) / 4}
    node, pads = helper.make_node, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        node("Conv", ["x", "w0", "b0"], ["c0"], **pads),
        node("Relu", ["c0"], ["r0"]),
        node("Conv", ["r0", "w1", "b1"], ["c1"], **pads),
        node("Clip", ["c1", "low", "high"], ["k1"]),
        node("Add", ["k1", "r0"], ["sum"]),
        node("MaxPool", ["sum"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["pooled", "w2", "b2"], ["y"], **pads),
    ]
    return modelled(nodes, constants, [1, 8, 12, 16])


def modelled(nodes, constants, shape):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "net",
        [value("x", TensorProto.FLOAT, shape)],
        [value("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return onnx.shape_inference.infer_shapes(model)


@pytest.fixture(scope="module")
def quantised(tmp_path_factory):
    """The network as an exporter makes it for TensorRT."""
    folder = tmp_path_factory.mktemp("net")
    onnx.save(network(), folder / "float.onnx")
    quantize_static(
        folder / "float.onnx",
        folder / "int8.onnx",
        Frames(),
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        op_types_to_quantize=["Conv", "Relu", "Clip", "Add", "MaxPool"],
        extra_options=TENSORRT,
    )
    return onnx.load(folder / "int8.onnx")


def ran(model, x, optimised=None):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if optimised is None:  # as the graph says, node by node
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    else:
        options.optimized_model_filepath = str(optimised)
    keep_exact(options, model.SerializeToString())
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(None, {"x": x})[0]


def kinds(model):
    return Counter(node.op_type for node in model.graph.node)


def arrays(model):
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def step(model):
    """A quantisation step of what comes out."""
    last = next(n for n in model.graph.node if n.output[0] == model.graph.output[0].name)
    return float(arrays(model)[last.input[1]])


def test_every_convolution_is_computed_in_integers(quantised, tmp_path):
    rewritten = for_cpu(quantised)
    for model, name in ((quantised, "before"), (rewritten, "after")):
        ran(model, inputs()[0], tmp_path / name)
    before, after = (kinds(onnx.load(tmp_path / name)) for name in ("before", "after"))
    assert before["QLinearConv"] < after["QLinearConv"] == 3
    assert after["QLinearAdd"] == 1
    assert not {"Conv", "Relu", "Clip", "FusedConv"} & set(after)


def test_what_comes_out_is_the_same_but_for_quantisation_steps(quantised, tmp_path):
    rewritten = for_cpu(quantised)
    onnx.checker.check_model(rewritten, full_check=True)
    for k, x in enumerate(inputs()):
        exact = ran(network(), x)
        known, found, fast = (
            ran(quantised, x),
            ran(rewritten, x),
            ran(rewritten, x, tmp_path / str(k)),
        )
        # Finer steps of what is never negative, fewer roundings: no further from the float network.
        assert np.abs(found - exact).mean() <= np.abs(known - exact).mean()
        assert np.abs(found - known).max() < 4 * step(quantised)
        assert np.abs(found - fast).max() < 1.01 * step(quantised)


def test_numbers_are_as_a_cpu_wants_them(quantised):
    before = quantised.SerializeToString()
    rewritten = for_cpu(quantised)
    assert quantised.SerializeToString() == before
    constants = arrays(rewritten)
    used = {name for node in rewritten.graph.node for name in node.input}
    assert set(constants) <= used
    assert not rewritten.graph.value_info
    makers = {node.output[0]: node for node in rewritten.graph.node}
    convolutions = [n for n in rewritten.graph.node if n.op_type == "Conv"]
    assert len(convolutions) == 3
    for k, node in enumerate(convolutions):
        data, weights, bias = (makers[name] for name in node.input)
        assert constants[weights.input[0]].dtype == constants[weights.input[2]].dtype == np.int8
        assert not constants[weights.input[2]].any()
        assert constants[data.input[2]].dtype == np.uint8
        # The image is signed, all others come out of Relu, Clip and what keeps their sign.
        assert constants[data.input[2]] == (128 if k == 0 else 0)
        steps = constants[data.input[1]] * constants[weights.input[1]]
        assert np.array_equal(constants[bias.input[1]], steps)
        assert constants[bias.input[0]].dtype == np.int32
        true = arrays(network())[f"b{k}"]
        assert np.abs(constants[bias.input[0]] * steps - true).max() <= steps.max()


def small(*, scale=0.1, bias=0.5, shared=False, high=None):
    """One convolution of one channel, written by hand: Q/DQ on input, weights and output."""
    constants = {
        "s": np.float32(scale),
        "z": np.int8(0),
        "ws": np.float32(0.01),
        "wz": np.int8(0),
        "os": np.float32(0.05),
        "w": np.full((1, 1, 1, 1), 0.5, np.float32),
        "b": np.full(1, bias, np.float32),
        "low": np.float32(0),
    }
    zeros = ["z", "z", "z"] if shared else ["z", "wz", "z"]
    node = helper.make_node
    nodes = []
    for name, s, z in zip(("x", "w", "c"), ("s", "ws", "os"), zeros, strict=True):
        if name == "c":
            nodes.append(node("Conv", ["xd", "wd", "b"], ["raw"]))
            if high is not None:
                constants["high"] = np.float32(high)
            end = ["low"] if high is None else ["low", "high"]
            nodes.append(node("Clip", ["raw", *end], ["c"]))
        nodes.append(node("QuantizeLinear", [name, s, z], [f"{name}q"]))
        out = "y" if name == "c" else f"{name}d"
        nodes.append(node("DequantizeLinear", [f"{name}q", s, z], [out]))
    return modelled(nodes, constants, [1, 1, 2, 2])


X = np.array([-3, 0.2, 1, 9], np.float32).reshape(1, 1, 2, 2)


def test_weights_and_activations_that_share_a_zero_point():
    model = small(shared=True)
    found = for_cpu(model)
    zeros = {
        n.input[0]: arrays(found)[n.input[2]] for n in found.graph.node if "Linear" in n.op_type
    }
    weights = next(n for n in found.graph.node if n.output[0] == "wd")
    assert zeros["x"].dtype == np.uint8 and zeros["x"] == 128
    assert zeros[weights.input[0]].dtype == np.int8 and zeros[weights.input[0]] == 0
    assert np.abs(ran(found, X) - ran(model, X)).max() <= 0.05


@pytest.mark.parametrize(("scale", "bias"), [(1e-7, 1e6), (0.0, 0.5)])
def test_a_bias_that_int32_cannot_hold_stays_as_it_is(scale, bias):
    found = for_cpu(small(scale=scale, bias=bias))
    conv = next(node for node in found.graph.node if node.op_type == "Conv")
    assert arrays(found)[conv.input[2]] == np.float32(bias)


@pytest.mark.parametrize(("high", "clips"), [(None, 0), (6.35, 0), (6.0, 1), (20.0, 0)])
def test_a_clip_goes_only_where_the_last_step_clips_the_same(high, clips):
    model = small(high=high)  # steps of 0.05 to 6.35
    found = for_cpu(model)
    assert kinds(found)["Clip"] == clips
    for x in (X, 20 * X):
        assert np.abs(ran(found, x) - ran(model, x)).max() <= 0.05


def test_what_quantises_nothing_is_handed_back():
    model = network()
    assert for_cpu(model) is model


def test_the_mean_is_taken_off_planes_exactly():
    """What is subtracted from each plane before the first rounding is still subtracted."""
    mean = np.float32([1.25, -2, 0.5]).reshape(1, 3, 1, 1)
    constants = {"mean": mean, "s": np.float32(0.03125), "z": np.int8(0)}
    nodes = [
        helper.make_node("Sub", ["x", "mean"], ["centred"]),
        helper.make_node("QuantizeLinear", ["centred", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    model = modelled(nodes, constants, [1, 3, 4, 5])
    rewritten = for_cpu(model)
    assert "Sub" not in kinds(rewritten)
    assert kinds(rewritten)["BatchNormalization"] == 1
    x = np.random.default_rng(0).uniform(-4, 4, (1, 3, 4, 5)).astype(np.float32)
    assert np.array_equal(ran(rewritten, x), ran(model, x))
    wanted = 0.03125 * np.clip(np.rint((x - mean) / 0.03125), -128, 127)
    assert np.array_equal(np.asarray(ran(rewritten, x)).reshape(x.shape), wanted)
