from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from export.precision.graph_index import Flow, prepared
from export.precision.groups import layer_groups


def chain(names: list[str]) -> onnx.ModelProto:
    """One 1x1 convolution and Relu after another, with weights of these names."""
    nodes, last = [], "x"
    for i, name in enumerate(names):
        nodes.append(helper.make_node("Conv", [last, name], [f"c{i}"], f"conv{i}"))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"], f"relu{i}"))
        last = f"r{i}"
    weights = [helper.make_tensor(n, TensorProto.FLOAT, [1, 1, 1, 1], [1.0]) for n in names]
    shape = ["n", 1, "h", "w"]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("x", last))
    return helper.make_model(helper.make_graph(nodes, "g", [x], [y], weights))


def test_groups_follow_the_modules_in_the_order_of_the_graph(graph) -> None:
    groups = layer_groups(graph)
    modules = ["stem.0", "block.0", "block.2", "gate", "up", "mix"]
    wanted = [f"segmentor.backbone.{name}" for name in modules]
    assert list(groups)[:6] == wanted
    assert set(list(groups)[6:]) == {"segmentor.head.low", "segmentor.head.high"}


def test_every_layer_is_in_one_group_with_what_follows_it(graph) -> None:
    groups, flow = layer_groups(graph), Flow(prepared(graph))
    grouped = [name for nodes in groups.values() for name in nodes]
    assert len(grouped) == len(set(grouped))
    assert {node.name for node in flow.nodes if flow.is_weighted(node)} <= set(grouped)
    ops = {node.name: node.op_type for node in graph.graph.node}
    inside = [ops[name] for name in groups["segmentor.backbone.block.2"]]
    assert inside[:3] == ["Conv", "Add", "Relu"]  # the sum follows the later of its two layers
    assert not {"ArgMax", "Exp", "Transpose", "Cast"} & {ops[name] for name in grouped}


@pytest.mark.parametrize("most", [1, 2, 3, 5, 8, 24])
def test_there_are_never_more_than_allowed(graph, most) -> None:
    groups = layer_groups(graph, most)
    assert len(groups) <= most
    if most >= 2:
        assert len(groups) >= 2
    whole = {name for nodes in layer_groups(graph).values() for name in nodes}
    assert {name for nodes in groups.values() for name in nodes} == whole


def test_a_module_of_many_parts_is_cut_into_runs_of_neighbours() -> None:
    names = [
        "net.stem.weight",
        *(f"net.body.{i}.conv.weight" for i in range(30)),
        "net.head.weight",
    ]
    groups = layer_groups(chain(names), 8)
    body = ["0-6", "7-14", "15-21", "22-29"]
    assert list(groups) == ["net.stem", *(f"net.body.{run}" for run in body), "net.head"]
    convs = [name for nodes in groups.values() for name in nodes if name.startswith("conv")]
    assert convs == [f"conv{i}" for i in range(32)]
    assert [len(groups[f"net.body.{run}"]) for run in body] == [14, 16, 14, 16]


def test_weights_without_a_path_go_by_their_nodes() -> None:
    groups = layer_groups(chain(["onnx::Conv_1", "onnx::Conv_2", "onnx::Conv_3"]))
    assert list(groups) == ["conv0", "conv1", "conv2"]
    assert groups["conv1"] == ("conv1", "relu1")
