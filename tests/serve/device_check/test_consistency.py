"""Faults that no golden frame shows: in batches, at other sizes, in confidence, in one place."""

import math
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.bundle import Golden, write_bundle
from export.bundle.reproduction import Found, reproduction
from roadshift import Failure
from serve.device_check import consistency, through_bytes
from serve.device_check.consistency import LARGE, check_batch, enlarged, frames
from serve.device_check.verify import check_device
from serve.media.codec import decode
from serve.runtime import engine as engine_module
from serve.runtime.engine import Engine

node = helper.make_node


def changed(graph, tensor, nodes, **constants):
    """The graph, in which `nodes` make `tensor` of true_`tensor` for all that read it."""
    model = onnx.load_from_string(graph)
    whole = []
    for one in model.graph.node:
        one.output[:] = [f"true_{tensor}" if name == tensor else name for name in one.output]
        whole += [one, *nodes] if f"true_{tensor}" in one.output else [one]
    del model.graph.node[:]
    model.graph.node.extend(whole)
    add(model, **constants)
    return model.SerializeToString()


def add(model, **constants):
    arrays = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    model.graph.initializer.extend(arrays)


def working_at(graph, height, width):
    """The graph, which resizes every frame to that size first and its answers back."""
    model = onnx.load_from_string(graph)
    nodes = list(model.graph.node)
    nodes[1].output[:] = ["own"]
    linear = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    sizes = [
        node("Shape", ["image"], ["n"], start=0, end=1),
        node("Shape", ["image"], ["size"], start=1, end=3),
        node("Concat", ["n", "three", "work"], ["inner"], axis=0),
        node("Concat", ["n", "classes", "size"], ["outer"], axis=0),
    ]
    back = next(n for n in nodes if n.op_type == "Resize")
    back.input[:] = ["logits", "", "", "outer"]
    nodes[2:2] = [node("Resize", ["own", "", "", "inner"], ["planes"], **linear)]
    del model.graph.node[:]
    model.graph.node.extend([*sizes, *nodes])
    add(model, three=np.array([3]), classes=np.array([4]), work=np.array([height, width]))
    onnx.checker.check_model(model)
    return model.SerializeToString()


def held(bundle, tmp_path, graph=None):
    """The bundle as export makes it, with limits for all outputs; with another graph's file."""
    engine = Engine(bundle, threads=1)
    golden, found = [], []
    for one in bundle.golden():
        answer = engine.run(one.image[None], ["labels", "confidence", "logits"])
        found.append(Found(**{name: value[0] for name, value in answer.items()}))
        golden.append(Golden(one.image, *found[-1]))
    limits = reproduction(golden, found, bundle.classes).limits(exact=True)
    checks = {**bundle.checks, "precisions": {"fp32": {"min_agreement": 0.999, **limits}}}
    contents = {"segmentor.onnx": graph or bundle.path("segmentor.onnx").read_bytes()}
    return write_bundle(replace(bundle, folder=tmp_path / "held", checks=checks), contents, golden)


@pytest.fixture
def plain(kit, tmp_path):
    """A bundle with the exact route, without further graphs."""
    return kit.make_exact(tmp_path / "plain")


@pytest.fixture
def worked(kit, tmp_path):
    """One whose network works at 32x48."""
    graph = working_at(kit.upsampling(), 32, 48)
    return kit.make_exact(tmp_path / "worked", graph=graph, provenance={"work_size": [32, 48]})


def checked(bundle):
    return check_device(bundle, threads=1, runs=1)


def test_good_ones_pass(plain, worked, tmp_path):
    for name, bundle in (("a", plain), ("b", worked)):
        assert checked(held(bundle, tmp_path / name)).precisions[0].routes_agree == 1


def test_the_third_of_a_batch(plain, tmp_path):
    """Golden frames are run two at a time, and those are right."""
    own = plain.path("segmentor.onnx").read_bytes()
    nodes = [
        node("Slice", ["true_logits", "nought", "two", "nought"], ["good"]),
        node("Slice", ["true_logits", "two", "end", "nought"], ["rest"]),
        node("Gather", ["true_logits", "nought"], ["first"]),
        node("Shape", ["rest"], ["as_many"]),
        node("Expand", ["first", "as_many"], ["same"]),
        node("Concat", ["good", "same"], ["logits"], axis=0),
    ]
    numbers = {"nought": np.array([0]), "two": np.array([2]), "end": np.array([1 << 40])}
    graph = changed(own, "logits", nodes, **numbers)
    with pytest.raises(Failure, match=r"frame 3 of 5 that are run at once has logits .* off by"):
        checked(held(plain, tmp_path, graph))


def test_other_answers_for_tall_frames(worked, tmp_path):
    own = worked.path("segmentor.onnx").read_bytes()
    nodes = [
        node("Shape", ["image"], ["height"], start=1, end=2),
        node("Greater", ["height", "most"], ["tall"]),
        node("Cast", ["tall"], ["factor"], to=TensorProto.FLOAT),
        node("Mul", ["factor", "much"], ["by"]),
        node("Add", ["true_logits", "by"], ["logits"]),
    ]
    less = np.array([-9, 0, 0, 0], np.float32).reshape(1, 4, 1, 1)
    graph = changed(own, "logits", nodes, most=np.array([600]), much=less)
    with pytest.raises(Failure, match=r"a frame enlarged to \d+x\d+ has logits that are off by"):
        checked(held(worked, tmp_path, graph))


def test_labels_of_large_frames_that_are_nothing(worked, tmp_path, monkeypatch):
    """In the code that serves, on the path of large frames alone."""
    real = engine_module.labels_at

    def wrong(logits, size, *more):
        return real(logits, size, *more) * np.uint8(math.prod(size) < LARGE // 2)

    bundle = held(worked, tmp_path)
    monkeypatch.setattr(engine_module, "labels_at", wrong)
    with pytest.raises(Failure, match="the exact and the dense route agree in"):
        checked(bundle)


def test_a_class_that_is_always_sure(plain, tmp_path):
    """Where no golden frame shows it, the logits still say how sure it may be."""
    own = plain.path("segmentor.onnx").read_bytes()
    nodes = [
        node("Equal", ["labels", "class"], ["there"]),
        node("Where", ["there", "sure_of_it", "true_confidence"], ["confidence"]),
    ]
    constants = {"class": np.array(3, np.uint8), "sure_of_it": np.array(255, np.uint8)}
    graph = changed(own, "confidence", nodes, **constants)
    with pytest.raises(Failure, match=r"route differ by .* of 255 in a pixel's confidence"):
        checked(held(plain, tmp_path, graph))


def test_logits_that_are_off_in_one_place(plain, tmp_path):
    """Too little for the mean over the frame, and no label of a golden frame changes."""
    own, bundle = plain.path("segmentor.onnx").read_bytes(), held(plain, tmp_path / "good")
    logits = bundle.golden()[0].logits
    assert logits is not None
    spot = np.zeros((1, *logits.shape), np.float32)
    spot[0, int(logits[:, 5, 5].argmax()), 5, 5] = 0.4 * float(logits.std())
    at = [node("Add", ["true_logits", "spot"], ["logits"])]
    graph = changed(own, "logits", at, spot=spot)
    with pytest.raises(Failure, match=r"logits that are off by .* of their deviation in a place"):
        Engine(held(plain, tmp_path, graph), threads=1).reproduce(outputs=True)


def test_opening_looks_at_more_than_labels(plain, tmp_path):
    """Logits times ten have the same labels, and nearly every pixel is sure."""
    own = plain.path("segmentor.onnx").read_bytes()
    ten = [node("Mul", ["true_logits", "ten"], ["logits"])]
    bundle = held(plain, tmp_path, changed(own, "logits", ten, ten=np.float32(10)))
    with pytest.raises(Failure, match="confidence that are off by"):
        Engine(bundle, threads=1).check_golden()


def test_numbers_that_are_none_are_no_road(plain, tmp_path):
    """argmax of NaN is class 0."""
    own = plain.path("segmentor.onnx").read_bytes()
    nodes = [
        node("ReduceMax", ["image_as_floats"], ["brightest"], keepdims=0),
        node("Cast", ["image"], ["image_as_floats"], to=TensorProto.FLOAT),
        node("Div", ["brightest", "brightest"], ["one"]),
        node("Mul", ["true_logits", "one"], ["logits"]),
    ]
    graph = changed(own, "logits", [nodes[1], nodes[0], *nodes[2:]])
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    dark = np.zeros((1, 16, 16, 3), np.uint8)
    assert np.isnan(session.run(["logits"], {"image": dark})[0]).all()
    bundle = held(plain, tmp_path, graph)
    engine = Engine(bundle, threads=1)
    assert engine.check_golden() == 1
    with pytest.raises(Failure, match="logits that are no numbers"):
        engine.segment(dark)
    with pytest.raises(Failure, match="logits that are no numbers"):
        checked(bundle)


def test_a_webp_decoder_that_swaps_the_channels(plain, tmp_path, monkeypatch):
    def swapped(data):
        return decode(data)[..., ::-1] if data[:4] == b"RIFF" else decode(data)

    monkeypatch.setattr(through_bytes, "decode", swapped)
    with pytest.raises(Failure, match="the decoder makes other pixels of a WEBP than Pillow"):
        checked(held(plain, tmp_path))


@pytest.mark.parametrize(
    ("size", "classes", "large"),
    [
        ((16, 24), 19, (1168, 1752)),
        ((256, 512), 19, (1024, 2048)),
        ((1080, 1920), 19, (1080, 1920)),
        ((256, 512), 150, (256, 512)),
        ((2160, 3840), 19, (2160, 3840)),
    ],
)
def test_an_enlarged_frame_is_large_and_the_same(size, classes, large):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    found = enlarged(image, classes)
    assert found.shape[:2] == large
    times = large[0] // size[0]
    for first in (0, times - 1):
        assert (found[first::times, first::times] == image).all()


def test_which_frames(plain, worked):
    assert max(frame.size for frame in frames(plain)) == 64 * 96 * 3
    assert LARGE < max(frame.size for frame in frames(worked)) <= 3 * LARGE
    assert {0, 255} <= {int(frame.mean()) for frame in frames(plain)}


def test_a_fixed_batch_and_an_older_format_have_less_to_show(plain, kit, tmp_path, monkeypatch):
    """One frame at a time cannot be compared with several, nor lower precisions without limits."""
    model = onnx.load_from_string(plain.path("segmentor.onnx").read_bytes())
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    check_batch(Engine(held(plain, tmp_path, model.SerializeToString()), threads=1))
    int8 = {"segmentor.int8.onnx": kit.in_int8(kit.upsampling())}
    old = kit.make_exact(tmp_path / "old", precisions=("fp32", "int8"), others=int8)
    monkeypatch.setattr(consistency, "relative_error", lambda *_: 0.5)
    check_batch(Engine(old, threads=1, precision="int8"))
    with pytest.raises(Failure, match=r"frame 1 of 5 .* off by 50.00% .* \(allowed 1.00%\)"):
        check_batch(Engine(old, threads=1))
