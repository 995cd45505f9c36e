from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from export.graph.image_graph import ImageModule, to_onnx
from export.graph.reconstructor import DeployedReconstructor, drawing, striped
from export.verification.drawings import DrawingSession, DrawnCheck, Redrawing
from roadshift import Failure

SIZES = ((45, 75), (33, 61), (58, 49))


class Drawn(DrawingSession):
    def __init__(self, model: onnx.ModelProto, one: ImageModule) -> None:
        super().__init__(model.SerializeToString(), one)


@pytest.fixture(scope="module")
def one(tiny) -> ImageModule:
    return drawing(tiny.reconstructor(), None)


@pytest.fixture(scope="module")
def content(one) -> bytes:
    return to_onnx(one, None).SerializeToString()


@pytest.fixture
def model(content) -> onnx.ModelProto:
    return onnx.load_from_string(content)


def labels(size, n=2, seed=0):
    return np.random.default_rng(seed).integers(0, 3, (n, *size)).astype(np.uint8)


def compared(one, runner) -> Redrawing:
    redrawing = Redrawing(one, runner)
    for size in SIZES:
        redrawing.add(labels(size))
    return redrawing


def test_the_networks_own_graph_passes(one, model) -> None:
    redrawing = compared(one, Drawn(model, one))
    assert redrawing.reasons == ()
    assert [c.size for c in redrawing.checks] == list(SIZES)
    for c in redrawing.checks:
        assert c.pictures == 3  # two of them, and the striped one
        assert c.off_share == 0
        assert c.off_most <= 1
        assert c.psnr is None or c.psnr > 70
    values = redrawing.values()
    assert values["passed"]
    assert values["min_psnr"] == 40


def test_a_changed_weight_is_caught(one, model) -> None:
    """One weight of the 588 in the first layer, which reads one class's vector."""
    weight = next(t for t in model.graph.initializer if list(t.dims) == [4, 3, 7, 7])
    values = onnx.numpy_helper.to_array(weight).copy()
    values[1, 2, 3, 3] += 0.5
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    for c in compared(one, Drawn(model, one)).checks:
        assert "differ by more than one level in" in c.reasons[0]


def test_a_class_that_is_never_predicted_is_compared_too(one, model) -> None:
    weight = next(t for t in model.graph.initializer if list(t.dims) == [4, 3, 7, 7])
    values = onnx.numpy_helper.to_array(weight).copy()
    values[:, 2] = 0
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    redrawing = Redrawing(one, Drawn(model, one))
    redrawing.add(labels((45, 75)) % 2)
    assert "differ by more than one level in" in redrawing.reasons[0]


class Swapped(DeployedReconstructor):
    def forward(self, labels: torch.Tensor) -> torch.Tensor:
        return super().forward(labels).flip(3)


class Cut(DeployedReconstructor):
    """Cut off, not rounded."""

    def forward(self, labels: torch.Tensor) -> torch.Tensor:
        omega = (labels[:, None].to(torch.int32) == self.classes).float()
        return (self.reconstructor(omega) * 255).to(torch.uint8).permute(0, 2, 3, 1)


class Shifted(DeployedReconstructor):
    """Class numbers that count from one."""

    def forward(self, labels: torch.Tensor) -> torch.Tensor:
        return super().forward(labels + 1)


@pytest.mark.parametrize("fault", [Swapped, Cut, Shifted])
def test_a_planted_fault_is_caught(tiny, one, fault) -> None:
    planted = replace(one, module=fault(tiny.reconstructor(), None).eval())
    redrawing = compared(one, Drawn(to_onnx(planted, None), one))
    assert {reason.split()[1] for reason in redrawing.reasons} == {"45x75", "33x61", "58x49"}


def test_labels_read_in_another_way_are_caught(tiny) -> None:
    """Resized bilinearly before they become vectors."""

    class Blended(DeployedReconstructor):
        def forward(self, labels: torch.Tensor) -> torch.Tensor:
            size = (labels.shape[1], labels.shape[2])
            omega = (labels[:, None].to(torch.int32) == self.classes).float()
            resize = torch.nn.functional.interpolate
            x = resize(self.reconstructor(resize(omega, self.work_size, mode="bilinear")), size)
            return (x * 255).round().to(torch.uint8).permute(0, 2, 3, 1)

    right = drawing(tiny.reconstructor(), (40, 64))
    planted = replace(right, module=Blended(tiny.reconstructor(), (40, 64)).eval())
    assert compared(right, Drawn(to_onnx(planted, None), right)).reasons


def test_maps_of_one_class_are_compared_as_well(one, model) -> None:
    redrawing = Redrawing(one, Drawn(model, one))
    given = labels((45, 75), 3)
    given[1] = 2
    redrawing.add(given)
    (c,) = redrawing.checks
    assert c.pictures == 4  # and the striped one
    redrawing.golden(list(given))
    assert redrawing.reasons == ()


def test_the_golden_images_are_torchs(one, model) -> None:
    redrawing, given = Redrawing(one, Drawn(model, one)), labels((45, 75))
    drawn = redrawing.golden(list(given))
    batched = one(given)[1]
    assert np.abs(drawn[1].astype(int) - batched).max() <= 1  # sums of another order
    assert redrawing.golden_psnr is None or redrawing.golden_psnr > 70
    redrawing = Redrawing(one, lambda _: np.zeros((1, 45, 75, 3), np.uint8))
    redrawing.golden(list(given))
    assert "the reconstructor's golden images agree to " in redrawing.reasons[0]


def test_a_reconstructor_that_has_diverged(tiny) -> None:
    reconstructor = tiny.reconstructor()
    next(reconstructor.parameters()).data[0] = torch.nan
    with pytest.raises(Failure, match="the reconstructor has NaN or infinite weights"):
        Redrawing(drawing(reconstructor, None), lambda labels: labels)


def test_stripes_have_every_class_and_255() -> None:
    assert set(np.unique(striped((45, 75), 19))) == {*range(19), 255}
    assert striped((16, 16), 3).shape == (16, 16)


def test_the_numbers_of_a_comparison(one) -> None:
    """Of four values one is off by 1 and one by 3."""

    class Grey(DeployedReconstructor):
        def forward(self, labels: torch.Tensor) -> torch.Tensor:
            return torch.full((*labels.shape, 3), 100, dtype=torch.uint8)

    def off(labels: np.ndarray) -> np.ndarray:
        image = np.full((*labels.shape, 3), 100, np.uint8)
        image[:, 0, 0, :2] = 101, 97
        return image

    assert isinstance(one.module, DeployedReconstructor)
    redrawing = Redrawing(replace(one, module=Grey(one.module.reconstructor, None)), off)
    redrawing.add(np.array([[[0, 1]], [[1, 0]]], np.uint8))
    (c,) = redrawing.checks  # three maps of six values with the striped one
    assert c.off_share == pytest.approx(1 / 6)
    assert c.off_most == 3
    assert c.psnr == pytest.approx(10 * np.log10(255**2 / ((1 + 9) / 6)))


GOOD = DrawnCheck(
    name="reconstructor", size=(4, 6), pictures=3, off_share=0.0, off_most=1, psnr=80.0
)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (
            {"off_share": 0.02},
            "differ by more than one level in 2.00% of the values (allowed 0.1%)",
        ),
        ({"off_most": 9}, "differ by up to 9 levels (allowed 8)"),
        ({"psnr": 59.94}, "agree to 59.9 dB (wanted 60)"),
    ],
)
def test_each_limit_refuses_alone(wrong, reason) -> None:
    assert GOOD.reasons == replace(GOOD, psnr=None).reasons == ()
    assert replace(GOOD, **wrong).reasons == (f"at 4x6 the reconstructor's images {reason}",)
