from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from export.reconstructor import Rebuilding, to_onnx
from export.redraw import OnnxRuntime, RebuiltCheck, Redrawing, striped
from roadshift import Failure

SIZES = ((45, 75), (33, 61), (58, 49))


def drawn_of(model: onnx.ModelProto) -> OnnxRuntime:
    return OnnxRuntime(model.SerializeToString())


@pytest.fixture(scope="module")
def module(tiny) -> Rebuilding:
    return Rebuilding(tiny.reconstructor(), None).eval()


@pytest.fixture(scope="module")
def content(module) -> bytes:
    return to_onnx(module, None, {}).SerializeToString()


@pytest.fixture
def model(content) -> onnx.ModelProto:
    return onnx.load_from_string(content)


def labels(size, n=2, seed=0):
    return np.random.default_rng(seed).integers(0, 3, (n, *size)).astype(np.uint8)


def compared(module, runner) -> Redrawing:
    redrawing = Redrawing(module, runner)
    for size in SIZES:
        redrawing.add(labels(size))
    return redrawing


def test_the_networks_own_graph_passes(module, model) -> None:
    redrawing = compared(module, drawn_of(model))
    assert redrawing.reasons == ()
    assert [c.size for c in redrawing.checks] == list(SIZES)
    for c in redrawing.checks:
        assert c.maps == 3  # two of them, and the striped one
        assert c.off_share == 0
        assert c.off_most <= 1
        assert c.psnr is None or c.psnr > 70
    values = redrawing.values()
    assert values["passed"]
    assert values["min_psnr"] == 40


def test_a_changed_weight_is_caught(module, model) -> None:
    """One weight of the 588 in the first layer, which reads one class's vector."""
    weight = next(t for t in model.graph.initializer if list(t.dims) == [4, 3, 7, 7])
    values = onnx.numpy_helper.to_array(weight).copy()
    values[1, 2, 3, 3] += 0.5
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    for c in compared(module, drawn_of(model)).checks:
        assert "differ by more than one level in" in c.reasons[0]


def test_a_class_that_is_never_predicted_is_compared_too(module, model) -> None:
    weight = next(t for t in model.graph.initializer if list(t.dims) == [4, 3, 7, 7])
    values = onnx.numpy_helper.to_array(weight).copy()
    values[:, 2] = 0
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    redrawing = Redrawing(module, drawn_of(model))
    redrawing.add(labels((45, 75)) % 2)
    assert "differ by more than one level in" in redrawing.reasons[0]


class Swapped(Rebuilding):
    def forward(self, labels: torch.Tensor) -> torch.Tensor:
        return super().forward(labels).flip(3)


class Cut(Rebuilding):
    """Cut off, not rounded."""

    def forward(self, labels: torch.Tensor) -> torch.Tensor:
        omega = (labels[:, None].to(torch.int32) == self.classes).float()
        return (self.reconstructor(omega) * 255).to(torch.uint8).permute(0, 2, 3, 1)


class Shifted(Rebuilding):
    """Class numbers that count from one."""

    def forward(self, labels: torch.Tensor) -> torch.Tensor:
        return super().forward(labels + 1)


@pytest.mark.parametrize("fault", [Swapped, Cut, Shifted])
def test_a_planted_fault_is_caught(tiny, module, fault) -> None:
    graph = to_onnx(fault(tiny.reconstructor(), None).eval(), None, {})
    redrawing = compared(module, drawn_of(graph))
    assert {reason.split()[1] for reason in redrawing.reasons} == {"45x75", "33x61", "58x49"}


def test_labels_read_in_another_way_are_caught(tiny) -> None:
    """Resized bilinearly before they become vectors."""

    class Blended(Rebuilding):
        def forward(self, labels: torch.Tensor) -> torch.Tensor:
            size = (labels.shape[1], labels.shape[2])
            omega = (labels[:, None].to(torch.int32) == self.classes).float()
            resize = torch.nn.functional.interpolate
            x = resize(self.reconstructor(resize(omega, self.work_size, mode="bilinear")), size)
            return (x * 255).round().to(torch.uint8).permute(0, 2, 3, 1)

    graph = to_onnx(Blended(tiny.reconstructor(), (40, 64)).eval(), None, {})
    assert compared(Rebuilding(tiny.reconstructor(), (40, 64)).eval(), drawn_of(graph)).reasons


def test_maps_of_one_class_are_compared_as_well(module, model) -> None:
    redrawing = Redrawing(module, drawn_of(model))
    given = labels((45, 75), 3)
    given[1] = 2
    redrawing.add(given)
    (c,) = redrawing.checks
    assert c.maps == 4  # and the striped one
    redrawing.golden(list(given))
    assert redrawing.reasons == ()


def test_the_golden_images_are_torchs(module, model) -> None:
    redrawing, given = Redrawing(module, drawn_of(model)), labels((45, 75))
    drawn = redrawing.golden(list(given))
    with torch.inference_mode():
        batched = module(torch.from_numpy(given))[1].numpy()
    assert np.abs(drawn[1].astype(int) - batched).max() <= 1  # sums of another order
    assert redrawing.golden_psnr is None or redrawing.golden_psnr > 70
    redrawing = Redrawing(module, lambda _: np.zeros((1, 45, 75, 3), np.uint8))
    redrawing.golden(list(given))
    assert "the golden images agree to " in redrawing.reasons[0]


def test_a_reconstructor_that_has_diverged(tiny) -> None:
    reconstructor = tiny.reconstructor()
    next(reconstructor.parameters()).data[0] = torch.nan
    with pytest.raises(Failure, match="the reconstructor has NaN or infinite weights"):
        Redrawing(Rebuilding(reconstructor, None), lambda labels: labels)


def test_stripes_have_every_class_and_255() -> None:
    assert set(np.unique(striped((45, 75), 19))) == {*range(19), 255}
    assert striped((16, 16), 3).shape == (16, 16)


def test_the_numbers_of_a_comparison(module) -> None:
    """Of four values one is off by 1 and one by 3."""

    class Drawn(Rebuilding):
        def forward(self, labels: torch.Tensor) -> torch.Tensor:
            return torch.full((*labels.shape, 3), 100, dtype=torch.uint8)

    def off(labels: np.ndarray) -> np.ndarray:
        image = np.full((*labels.shape, 3), 100, np.uint8)
        image[:, 0, 0, :2] = 101, 97
        return image

    redrawing = Redrawing(Drawn(module.reconstructor, None), off)
    redrawing.add(np.array([[[0, 1]], [[1, 0]]], np.uint8))
    (c,) = redrawing.checks  # three maps of six values with the striped one
    assert c.off_share == pytest.approx(1 / 6)
    assert c.off_most == 3
    assert c.psnr == pytest.approx(10 * np.log10(255**2 / ((1 + 9) / 6)))


GOOD = RebuiltCheck(size=(4, 6), maps=3, off_share=0.0, off_most=1, psnr=80.0)


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
