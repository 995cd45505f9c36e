"""Which graph, which precision, and how its logits become labels."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

import serve.runtime.engine
from roadshift import Failure, UserError
from serve.runtime.engine import Engine

WANTED = (["labels"], ["labels", "logits"], ["logits", "labels"], ["labels", "confidence"])


@pytest.fixture
def images(exact):
    return np.stack([golden.image for golden in exact.golden()])


def loaded(engine):
    """The outputs that each session was made for."""
    return [outputs for outputs, _ in engine.sessions._runners]


def test_both_routes_give_the_golden_labels(exact):
    for route in ("auto", "exact", "dense"):
        engine = Engine(exact, threads=1, route=route)
        assert engine.route == ("exact" if route == "auto" else route)
        assert engine.check_golden() == 1


def test_all_that_can_be_asked_for_is_the_same_on_both(exact, images):
    one, other = (Engine(exact, threads=1, route=route) for route in ("exact", "dense"))
    for wanted in WANTED:
        found, dense = one.run(images, wanted), other.run(images, wanted)
        assert list(found) == list(dense) == wanted
        for name in wanted:
            assert found[name].dtype == dense[name].dtype
            assert np.array_equal(found[name], dense[name])


@pytest.mark.parametrize("aligned", [False, True])
def test_the_manifest_says_how_logits_are_upsampled(tmp_path, kit, aligned):
    bundle = kit.make_exact(tmp_path / "b", aligned=aligned)
    assert Engine(bundle, threads=1).check_golden() == 1
    wrong = replace(bundle, align_corners=not aligned)
    with pytest.raises(Failure, match=r"of a golden frame's labels in fp32; wanted 99\.9000%"):
        Engine(wrong, threads=1).check_golden()


def test_only_what_is_needed_is_loaded(exact, images):
    engine = Engine(exact, threads=1)
    assert loaded(engine) == [("logits",)]
    engine.segment(images)
    engine.run(images, ["labels", "logits"])
    assert loaded(engine) == [("logits",)]
    engine.segment(images, confidence=True)
    assert loaded(engine) == [("logits",)]  # confidence too comes of the logits
    assert loaded(Engine(exact, threads=1, route="dense")) == [("labels",)]


def test_the_tail_has_as_many_threads(exact, images, monkeypatch):
    asked = []

    def record(logits, size, align_corners, threads):
        asked.append((logits.shape, size, align_corners, threads))
        return np.zeros((len(logits), *size), np.uint8)

    monkeypatch.setattr(serve.runtime.engine, "labels_at", record)
    Engine(exact, threads=2).segment(images)
    assert asked == [((2, 4, 16, 24), (64, 96), False, 2)]


def test_a_bundle_without_the_exact_route(tiny):
    assert Engine(tiny, threads=1).route == "dense"
    with pytest.raises(UserError, match=r"bundle tiny has no exact route, .* use --route dense"):
        Engine(tiny, threads=1, route="exact")
    with pytest.raises(UserError, match=r"unknown route 'exat': did you mean 'exact'"):
        Engine(tiny, threads=1, route="exat")


def test_precision_chooses_the_file(tmp_path, kit):
    """The lower precision's weights are those of other classes, so that it can be told."""
    turned = np.roll(np.concatenate([np.zeros((1, 3)), np.eye(3)]), 1, axis=1)
    graph = kit.upsampling(weights=turned.astype(np.float32).reshape(4, 3, 1, 1))
    bundle = kit.make_exact(
        tmp_path / "b", precisions=("fp32", "fp16"), others={"segmentor.fp16.onnx": graph}
    )
    image = np.zeros((1, 16, 16, 3), np.uint8)
    image[..., 0] = 200
    assert (Engine(bundle, threads=1).segment(image).labels == 1).all()
    half = Engine(bundle, threads=1, precision="fp16")
    assert half.precision == "fp16"
    assert (half.segment(image).labels == 3).all()
    with pytest.raises(Failure, match=r"of a golden frame's labels in fp16; wanted 99\.9"):
        half.check_golden()


def test_a_precision_that_is_not_there(exact):
    with pytest.raises(UserError, match=r"has the precisions fp32, no int8: export the run again"):
        Engine(exact, precision="int8")
    with pytest.raises(UserError, match=r"unknown precision 'int4': did you mean 'int8'"):
        Engine(exact, precision="int4")


def test_a_graph_of_other_classes(tmp_path, kit):
    bundle = kit.make_bundle(tmp_path / "b")
    fewer = replace(bundle, classes=bundle.classes[:3], palette=bundle.palette[:3])
    with pytest.raises(Failure, match=r"segmentor\.onnx of .* has logits of shape .*; wanted 3"):
        Engine(fewer, threads=1)


def test_a_graph_of_another_size(tmp_path, kit):
    bundle = kit.make_bundle(tmp_path / "b", size=(16, 24))
    with pytest.raises(Failure, match=r"takes images of 16x24, and its manifest says any size"):
        Engine(replace(bundle, size=None), threads=1)


def test_an_operator_that_the_runtime_lacks(tmp_path, kit):
    def graph(change):
        model = onnx.load_from_string(kit.graph(None))
        change(model, model.graph.node[2])
        return kit.make_bundle(tmp_path / "b", graph=model.SerializeToString())

    def unknown_to_onnx(_, node):
        node.op_type = "Segment"

    def of_a_vendor(model, node):
        node.op_type, node.domain = "Segment", "com.acme"
        model.opset_import.append(onnx.helper.make_opsetid("com.acme", 1))

    def without_a_kernel(model, _):
        node, sixteen = onnx.helper.make_node, onnx.TensorProto.BFLOAT16
        more = [
            node("Cast", ["image"], ["short"], to=sixteen),
            node("Erf", ["short"], ["bent"], name="here"),
            node("Cast", ["bent"], ["real"], to=onnx.TensorProto.FLOAT),
        ]
        nodes = [*more, *list(model.graph.node)[1:]]
        del model.graph.node[:]
        model.graph.node.extend(nodes)

    cases = {
        unknown_to_onnx: r"has no operator Segment on cpu: it cannot run segmentor\.onnx of",
        of_a_vendor: r"has no operator com\.acme:Segment on cpu: .* use a newer ONNX Runtime",
        without_a_kernel: r"has no operator Erf on cpu, which the node 'here' is: it cannot run",
    }
    for change, sentence in cases.items():
        with pytest.raises(Failure, match=sentence):
            Engine(graph(change), threads=1)


def test_int8_on_the_cpu_is_what_the_cpu_computes_fast(int8):
    """The file is in TensorRT's form, of which the CPU would compute the convolution in floats."""

    def zero_points(model):
        constants = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
        nodes = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
        return {constants[node.input[2]] for node in nodes}

    for route in ("exact", "dense"):
        engine = Engine(int8, threads=1, precision="int8", route=route)
        assert engine.check_golden() > 0.98
        assert zero_points(engine.sessions.read()) == {onnx.TensorProto.INT8}
        assert zero_points(engine.sessions.graph(engine.first)) == {onnx.TensorProto.UINT8}
    assert Engine(int8, threads=1).check_golden() == 1
