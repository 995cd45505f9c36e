from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from adapt.networks.segmentor import Segmented
from export.graph.onnx_file import OPSET, TRACED, describe
from export.graph.segmentor import Deployed, check_graph, to_onnx
from roadshift import Failure, UserError


def run(graph: bytes, image: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": image})


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("name", "work_size", "only"),
    [("centres", None, None), ("corners", (24, 40), None), ("fixed", (24, 40), (33, 47))],
)
def test_the_graph_answers_what_the_module_answers(tiny, name, work_size, only, request) -> None:
    graph = request.getfixturevalue(name)
    deployed = Deployed((tiny.Corners if name == "corners" else tiny.Centres)(), work_size)
    for height, width in [only] if only else [(16, 16), (33, 47), (64, 128), (50, 31)]:
        for n in (1, 2, 3):
            image = noise(n, height, width, 3)
            labels, confidence, logits = run(graph, image)
            with torch.inference_mode():
                wanted = deployed(torch.from_numpy(image))
            assert labels.shape == confidence.shape == (n, height, width)
            assert (labels.dtype, confidence.dtype, logits.dtype) == ("uint8", "uint8", "float32")
            assert np.array_equal(labels, wanted.labels.numpy())
            assert np.abs(confidence.astype(int) - wanted.confidence.numpy()).max() <= 1
            assert np.abs(logits - wanted.logits.numpy()).max() < 1e-4


def test_confidence_is_the_largest_probability(tiny) -> None:
    deployed, image = Deployed(tiny.Centres(), None), torch.from_numpy(noise(1, 32, 32, 3))
    with torch.inference_mode():
        answer = deployed(image)
        full = nn.functional.interpolate(answer.logits, size=(32, 32), mode="bilinear")
    wanted = (full.softmax(1).amax(1) * 255).round()
    assert (answer.confidence - wanted).abs().max() <= 1
    assert answer.confidence.float().std() > 1


def test_ties_go_to_the_lower_class_on_both_sides(tiny) -> None:
    segmentor = tiny.Centres()
    with torch.no_grad():  # the classes 1 and 2 are always equal, and above class 0
        segmentor.head.weight[2] = segmentor.head.weight[1]
        segmentor.head.bias[:] = torch.tensor([-1e3, 0.0, 0.0])
    deployed, image = Deployed(segmentor, None), noise(2, 37, 41, 3)
    labels, *_ = run(tiny.graph(deployed), image)
    with torch.inference_mode():
        assert (deployed(torch.from_numpy(image)).labels == 1).all()
    assert (labels == 1).all()


class Pooled(nn.Module):
    def __init__(self, inner: nn.Module, k: int) -> None:
        super().__init__()
        self.inner, self.k = inner, k

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        pooled = nn.functional.adaptive_avg_pool2d(z, self.k)
        return self.inner(z + nn.functional.interpolate(pooled, size=z.shape[-2:]))


def test_adaptive_pooling_is_refused_where_it_would_be_wrong(tiny) -> None:
    segmentor = tiny.Centres()
    segmentor.head = Pooled(segmentor.head, 3)
    with pytest.raises(Failure, match=r"pools adaptively to \(3, 3\), .*give --size HxW"):
        to_onnx(Deployed(segmentor, None).eval(), None)
    graph = tiny.graph(Deployed(segmentor, None), (24, 24))
    with torch.inference_mode():
        wanted = Deployed(segmentor, None)(torch.from_numpy(noise(1, 24, 24, 3))).labels
    assert np.array_equal(run(graph, noise(1, 24, 24, 3))[0], wanted)


def test_adaptive_pooling_behind_a_work_size_is_right(tiny) -> None:
    segmentor = tiny.Centres()
    segmentor.head = Pooled(segmentor.head, 3)
    deployed, image = Deployed(segmentor, (24, 32)), noise(1, 45, 70, 3)
    graph = tiny.graph(deployed)
    with torch.inference_mode():
        wanted = deployed(torch.from_numpy(image)).logits.numpy()
    assert np.abs(run(graph, image)[2] - wanted).max() < 1e-4 * np.ptp(wanted)


def test_the_file_holds_what_is_needed_and_nothing_else(tiny) -> None:
    class Heavy(tiny.Centres):
        def __init__(self) -> None:
            super().__init__()
            self.head = Pooled(self.head, 1)  # to one value: right at every size
            self.aux = nn.Conv2d(8, 3, 7)

        def forward(self, x: torch.Tensor) -> Segmented:
            return Segmented(super().forward(x).logits, self.aux(self.features(x)))

    about = {"classes": ["road"], "provenance": {"steps": 7}}
    model = to_onnx(Deployed(Heavy(), None).eval(), None)
    describe(model, about)
    assert {p.key: json.loads(p.value) for p in model.metadata_props} == about
    content = model.SerializeToString()
    assert __file__.encode() not in content
    assert b"site-packages" not in content
    assert sum(node.op_type == "Conv" for node in model.graph.node) == 2
    assert not [t for t in model.graph.initializer if tuple(t.dims) == (3, 8, 7, 7)]


def test_what_torch_cannot_export_is_one_sentence(tiny) -> None:
    class Moody(tiny.Centres):
        def forward(self, x: torch.Tensor) -> Segmented:
            return super().forward(x if x.mean() > 0.5 else 1 - x)

    with pytest.raises(Failure, match=r"^torch could not export the network to ONNX: ") as error:
        to_onnx(Deployed(Moody(), None).eval(), None)
    assert "\n" not in str(error.value)


def test_a_size_below_the_smallest(tiny) -> None:
    with pytest.raises(UserError, match=r"--size is 15x64 .* takes frames from 16x16 on"):
        to_onnx(Deployed(tiny.Centres(), None), (15, 64))


def test_with_a_work_size_small_frames_are_enlarged_anyway(tiny) -> None:
    class Large(tiny.Centres):
        min_size = (33, 33)

    assert Deployed(Large(), None).smallest == (33, 33)
    assert Deployed(Large(), (64, 64)).smallest == (16, 16)


@pytest.fixture
def model(centres) -> onnx.ModelProto:
    return onnx.load_from_string(centres)


def test_the_interface_is_as_promised(model) -> None:
    check_graph(model, None)
    assert model.opset_import[0].version == OPSET == 18


def test_another_interface_is_refused(model) -> None:
    with pytest.raises(Failure, match=r"'image' is .*wanted \(2, \('n', 64, 128, 3\)\)"):
        check_graph(model, (64, 128))
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    with pytest.raises(Failure, match=r"'labels' is \(7, .* wanted \(2, "):
        check_graph(model, None)


def test_a_frozen_axis_is_refused(model) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = TRACED[0]
    with pytest.raises(Failure, match=r"'image' is \(2, \('n', 176, 'width', 3\)\)"):
        check_graph(model, None)


def test_other_outputs_are_refused(model) -> None:
    del model.graph.output[2]
    with pytest.raises(Failure, match=r"answers \('labels', 'confidence'\), wanted"):
        check_graph(model, None)


def test_another_opset_is_refused(model) -> None:
    model.opset_import[0].version = 20
    with pytest.raises(Failure, match=r"needs the operators \{\('', 20\)\}, wanted opset 18"):
        check_graph(model, None)


def test_weights_in_another_file_are_refused(model) -> None:
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    with pytest.raises(Failure, match="keeps weights outside its file"):
        check_graph(model, None)
