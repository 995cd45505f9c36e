"""Chance and other files are refused, wherever in a graph they hide."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.bundle import write_bundle
from roadshift import Failure
from serve.runtime.engine import Engine
from serve.runtime.graph_content import check_content

node = helper.make_node


def model_of(*nodes, constants=()):
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    return helper.make_model(helper.make_graph(nodes, "g", [], [value], constants))


def within(*nodes):
    """Nodes in the branch of an If."""
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    inner = helper.make_graph(nodes, "inner", [], [value])
    return node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)


def elsewhere():
    tensor = numpy_helper.from_array(np.ones(3, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.bin")
    return tensor


@pytest.mark.parametrize("kind", ["RandomUniform", "RandomNormal", "Bernoulli", "Multinomial"])
def test_chance(kind):
    drawn = node(kind, [], ["y"])
    for model in (model_of(drawn), model_of(within(drawn))):
        with pytest.raises(Failure, match=rf"FILE answers by chance \({kind}\)"):
            check_content(model, "FILE")


def test_dropout_draws_only_in_training():
    check_content(model_of(node("Dropout", ["x"], ["y"])), "FILE")
    check_content(model_of(node("Dropout", ["x", "ratio"], ["y"])), "FILE")
    with pytest.raises(Failure, match=r"by chance \(Dropout\)"):
        check_content(model_of(node("Dropout", ["x", "ratio", "training"], ["y"])), "FILE")


def test_chance_in_a_function():
    model = model_of(node("Drawn", [], ["y"], domain="mine"))
    opsets = [helper.make_opsetid("", 18)]
    body = [node("RandomNormal", [], ["z"])]
    drawn = helper.make_function("mine", "Drawn", [], ["z"], body, opsets)
    model.functions.append(drawn)
    with pytest.raises(Failure, match=r"by chance \(RandomNormal\)"):
        check_content(model, "FILE")


@pytest.mark.parametrize(
    "model",
    [
        model_of(node("Identity", ["w"], ["y"]), constants=[elsewhere()]),
        model_of(node("Constant", [], ["y"], value=elsewhere())),
        model_of(within(node("Constant", [], ["y"], value=elsewhere()))),
    ],
    ids=["constant", "node", "branch"],
)
def test_numbers_in_another_file(model):
    with pytest.raises(Failure, match="FILE reads numbers from another file, which has no hash"):
        check_content(model, "FILE")


def test_no_engine_opens_it(tiny, tmp_path):
    model = onnx.load_from_string(tiny.path("segmentor.onnx").read_bytes())
    check_content(model, "FILE")
    model.graph.node.append(node("RandomUniform", [], ["unread"], shape=[1]))
    contents = {"segmentor.onnx": model.SerializeToString()}
    bundle = write_bundle(replace(tiny, folder=tmp_path / "b"), contents, tiny.golden())
    with pytest.raises(Failure, match=r"segmentor.onnx of bundle .* answers by chance"):
        Engine(bundle, threads=1)
