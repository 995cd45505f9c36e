"""Faults planted in the graph of a bundle whose hashes are put right: every one is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from tiny_graphs import in_fp16, in_int8, segmenting

from export.bundle import Bundle, read_bundle, write_bundle
from export.make import make_bundle
from roadshift import Failure
from serve.device_check.arithmetic import check_precision, known_share, lowered_share
from serve.device_check.verify import check_device
from serve.runtime import engine


@pytest.fixture(scope="module")
def bundle(tiny, tmp_path_factory) -> Bundle:
    folder = tmp_path_factory.mktemp("faults") / "street"
    return make_bundle(tiny.saved(tiny.Centres()), tiny.frames(4), folder, size=None)


def behind(model: onnx.ModelProto, output: str, *nodes: onnx.NodeProto, **constants) -> None:
    """Puts nodes between what the graph made as `output` and what it answers as that."""
    graph = model.graph
    for node in graph.node:
        node.output[:] = [f"true_{output}" if name == output else name for name in node.output]
        node.input[:] = [f"true_{output}" if name == output else name for name in node.input]
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in constants.items())


def inverted(model: onnx.ModelProto) -> None:
    node = helper.make_node("Sub", ["most", "true_confidence"], ["confidence"])
    behind(model, "confidence", node, most=np.array(255, np.uint8))


def scaled(model: onnx.ModelProto) -> None:
    node = helper.make_node("Mul", ["true_logits", "three"], ["logits"])
    behind(model, "logits", node, three=np.array(3, np.float32))


def first_of_batch(model: onnx.ModelProto) -> None:
    behind(
        model,
        "labels",
        helper.make_node("Shape", ["true_labels"], ["whole"]),
        helper.make_node("Gather", ["true_labels", "none"], ["first"], axis=0),
        helper.make_node("Expand", ["first", "whole"], ["labels"]),
        none=np.array([0], np.int64),
    )


def planted(bundle: Bundle, folder, fault: Callable[[onnx.ModelProto], None]) -> Bundle:
    names = [name for name in bundle.files if not name.startswith("golden/")]
    contents = {name: bundle.path(name).read_bytes() for name in names}
    model = onnx.load(bundle.path("segmentor.onnx"))
    fault(model)
    onnx.checker.check_model(model)
    contents["segmentor.onnx"] = model.SerializeToString()
    write_bundle(replace(bundle, folder=folder, route="dense"), contents, bundle.golden())
    return read_bundle(folder)


def test_without_a_fault(bundle, tmp_path) -> None:
    report = check_device(planted(bundle, tmp_path / "b", lambda _: None), runs=1)
    (precision,) = report.precisions
    assert set(precision.classes) == {"car", "sky"}
    assert bundle.checks["no_evidence"] == ["road"]
    assert precision.confidence < 0.1
    assert precision.logits < 0.005


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (inverted, "confidence that are off by"),
        (scaled, "logits that are off by 2"),
        (first_of_batch, "of a golden frame's labels in fp32; wanted 99.9"),
    ],
)
def test_a_fault_in_the_graph(bundle, tmp_path, fault, reason) -> None:
    with pytest.raises(Failure, match=reason):
        check_device(planted(bundle, tmp_path / "b", fault), runs=1)


def test_a_precision_in_name_only(bundle, tmp_path) -> None:
    """An fp16 file that is the fp32 one, and an int8 file with one pair of Q and DQ left."""
    names = [name for name in bundle.files if not name.startswith("golden/")]
    contents = {name: bundle.path(name).read_bytes() for name in names}
    checks = bundle.checks | {
        "precisions": dict.fromkeys(("fp32", "fp16", "int8"), bundle.checks["precisions"]["fp32"])
    }
    model = onnx.load_from_string(contents["segmentor.onnx"])
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    pair = [
        helper.make_node("QuantizeLinear", [first.input[1], "step", "zero"], ["bytes"]),
        helper.make_node("DequantizeLinear", ["bytes", "step", "zero"], ["again"]),
    ]
    first.input[1] = "again"
    nodes = [*pair, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    for name, value in ("step", np.float32(1e-4)), ("zero", np.int8(0)):
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    contents["segmentor.fp16.onnx"] = contents["segmentor.onnx"]
    contents["segmentor.int8.onnx"] = model.SerializeToString()
    three = replace(
        bundle, folder=tmp_path / "b", precisions=("fp32", "fp16", "int8"), checks=checks
    )
    made = write_bundle(three, contents, bundle.golden())
    for precision in ("fp16", "int8"):
        with pytest.raises(Failure, match=rf"does 0.0% of its multiply-adds in {precision}"):
            check_device(made, precisions=(precision,), runs=1)


def test_a_batch_in_the_exact_routes_code(bundle, monkeypatch) -> None:
    real = engine.labels_at

    def first_alone(logits, *more):
        return np.repeat(real(logits[:1], *more), len(logits), 0)

    monkeypatch.setattr(engine, "labels_at", first_alone)
    with pytest.raises(Failure, match=r"of a golden frame's labels in fp32; wanted 99\.9"):
        engine.Engine(bundle, threads=1, route="exact").check_golden()


def test_arithmetic_that_no_output_needs_counts_for_nothing() -> None:
    """As large products beside the network, in the precision that it is named after."""
    for precision, lower in ("int8", in_int8), ("fp16", in_fp16):
        model = onnx.load_from_string(lower(segmenting((32, 48))))
        assert lowered_share(model, precision, (32, 48)) > 0
        alone = onnx.load_from_string(segmenting((32, 48)))
        for node in model.graph.node:
            node.output[:] = [f"beside_{name}" for name in node.output]
            node.input[:] = [name if name == "image" else f"beside_{name}" for name in node.input]
        for tensor in model.graph.initializer:
            tensor.name = f"beside_{tensor.name}"
        alone.graph.node.extend(model.graph.node)
        alone.graph.initializer.extend(model.graph.initializer)
        onnx.checker.check_model(alone)
        assert lowered_share(alone, precision, (32, 48)) == 0


def test_less_than_was_counted_at_export_is_another_graph() -> None:
    """Half of it beside a float32 network is more than the least that any graph must do."""
    model = onnx.load_from_string(in_int8(segmenting((32, 48))))
    share = lowered_share(model, "int8", (32, 48))
    for known in (None, share, share + 0.05):
        assert check_precision(model, "int8", (32, 48), "FILE", known) == share
    with pytest.raises(Failure, match=rf"FILE does {share:.1%} of its multiply-adds in int8, want"):
        check_precision(model, "int8", (32, 48), "FILE", share + 0.11)
    checks = {"device": {"precisions": [{"precision": "int8", "lowered": 0.75}, {}]}}
    assert known_share(checks, "int8") == 0.75
    for unknown in ({}, {"device": None}, {"device": {"precisions": 1}}, checks):
        assert known_share(unknown, "fp16") is None
