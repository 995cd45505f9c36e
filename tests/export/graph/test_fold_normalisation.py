from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from adapt.networks.segmentor import Normalise
from export.graph.fold_normalisation import fold_normalisation
from export.graph.segmentor import Deployed, to_onnx


def run(model: onnx.ModelProto, image: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"image": image})


def image(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(height)
    noise = rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    noise[0, :, :2] = 255  # at the border the padding shows
    return noise


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    return onnx.load_from_string(model.SerializeToString())


def operators(model: onnx.ModelProto) -> list[str]:
    """Those before the first convolution."""
    names = [node.op_type for node in model.graph.node]
    return names[: names.index("Conv")]


@pytest.mark.parametrize("work_size", [None, (24, 40)])
@pytest.mark.parametrize("normalise", [Normalise.imagenet, Normalise.caffe])
@pytest.mark.parametrize("padding", [0, 1])
def test_the_same_answers_with_less_to_do(tiny, work_size, normalise, padding) -> None:
    segmentor = tiny.Centres(normalise())
    segmentor.backbone = nn.Conv2d(3, 8, 3, 2, padding)
    model = to_onnx(Deployed(segmentor, work_size).eval(), None)
    folded = copied(model)
    assert fold_normalisation(folded)
    onnx.checker.check_model(folded, full_check=True)
    assert {"Div", "Mul", "Gather"} & set(operators(model))
    assert not {"Div", "Mul", "Gather"} & set(operators(folded))
    assert ("Sub" in operators(folded)) == bool(padding)  # zeros stand for the mean
    for size in [(33, 47), (64, 96)]:
        wanted, found = run(model, image(*size)), run(folded, image(*size))
        assert np.abs(wanted[2] - found[2]).max() < 2e-5 * np.ptp(wanted[2])
        assert (wanted[0] == found[0]).mean() > 0.999
    names = {t.name for t in folded.graph.initializer}
    assert names == {name for node in folded.graph.node for name in node.input if name in names}
    assert "segmentor.backbone.weight" in names


def test_a_first_convolution_without_a_bias_gets_one(tiny) -> None:
    segmentor = tiny.Centres()
    segmentor.backbone = nn.Conv2d(3, 8, 3, 2, 0, bias=False)
    model = to_onnx(Deployed(segmentor, None).eval(), None)
    folded = copied(model)
    assert fold_normalisation(folded)
    wanted, found = run(model, image(40, 56)), run(folded, image(40, 56))
    assert np.abs(wanted[2] - found[2]).max() < 2e-5 * np.ptp(wanted[2])


class Twice(nn.Module):
    """Weights that two convolutions share, of which one sees the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 3, 3, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        once = torch.conv2d(x, self.weight, padding=1, stride=2)
        return torch.conv2d(once, self.weight, padding=1)


def test_shared_weights_are_folded_for_the_first_convolution_alone(tiny) -> None:
    class Sharing(tiny.Centres):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = Twice()
            self.head = nn.Conv2d(3, 3, 1)

    model = to_onnx(Deployed(Sharing(), None).eval(), None)
    folded = copied(model)
    assert fold_normalisation(folded)
    wanted, found = run(model, image(40, 56)), run(folded, image(40, 56))
    assert np.abs(wanted[2] - found[2]).max() < 2e-5 * np.ptp(wanted[2])


def test_what_is_not_affine_is_left_alone(tiny) -> None:
    """A picture that is used twice, and one that goes through a sigmoid first."""

    class Skipping(tiny.Centres):
        def forward(self, x):
            answer = super().forward(x)
            more = nn.functional.interpolate(x, size=answer.logits.shape[-2:])
            return answer._replace(logits=answer.logits + more)

    class Curved(tiny.Centres):
        def forward(self, x):
            return super().forward(x.sigmoid())

    for segmentor in (Skipping(), Curved()):
        model = to_onnx(Deployed(segmentor, None).eval(), None)
        before = model.SerializeToString()
        assert not fold_normalisation(model)
        assert model.SerializeToString() == before
