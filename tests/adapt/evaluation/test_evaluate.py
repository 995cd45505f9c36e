import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from adapt.data.classes import CLASS_SETS
from adapt.evaluation.evaluate import Confusion, Scores, Views, evaluating, logits_of, subset_mious
from adapt.networks import build


def bytes_of(rows: list[list[int]]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.uint8)


def test_iou_by_hand_over_the_whole_set() -> None:
    confusion = Confusion(("road", "car", "sky", "train"))
    confusion.add(bytes_of([[0, 0, 1, 1]]), bytes_of([[0, 1, 1, 255]]))
    confusion.add(bytes_of([[0, 2, 0, 0]]), bytes_of([[0, 0, 0, 0]]))
    miou, iou = confusion.scores()
    # road: 4 hits, 1 wrongly road, 1 missed; car: 1 hit, 1 missed; sky: predicted, never true.
    assert iou["road"] == pytest.approx(100 * 4 / 6)
    assert iou["car"] == pytest.approx(100 * 1 / 2)
    assert math.isnan(iou["sky"])
    assert math.isnan(iou["train"])
    assert miou == pytest.approx((400 / 6 + 50) / 2)
    strict = confusion.scores(least=0)
    assert strict.iou["sky"] == 0
    assert strict.miou == pytest.approx((400 / 6 + 50 + 0) / 3)


def test_a_class_that_the_labels_cannot_name_is_not_scored() -> None:
    confusion = Confusion(("road", "car"), known={"road"})
    confusion.add(bytes_of([[0, 1]]), bytes_of([[0, 0]]))
    miou, iou = confusion.scores()
    assert iou["road"] == pytest.approx(50)
    assert math.isnan(iou["car"])
    assert miou == pytest.approx(50)


def test_subsets_of_cityscapes() -> None:
    names = CLASS_SETS["cityscapes19"].names
    iou = {name: float(i) for i, name in enumerate(names)}
    found = subset_mious(Scores(0.0, iou))
    left_out = {"terrain", "truck", "train"}
    assert found["cityscapes19"] == pytest.approx(np.mean(range(19)))
    assert found["cityscapes16"] == pytest.approx(
        np.mean([v for n, v in iou.items() if n not in left_out])
    )
    left_out |= {"wall", "fence", "pole"}
    assert found["cityscapes13"] == pytest.approx(
        np.mean([v for n, v in iou.items() if n not in left_out])
    )
    assert subset_mious(Scores(0.0, {"road": 1.0})) == {}


def test_evaluating_gives_every_layer_its_mode_back() -> None:
    net = build("lraspp_mobilenet_v2", 2).train()
    frozen = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    for layer in frozen:
        layer.eval()
    with evaluating(net):
        assert not any(m.training for m in net.modules())
        assert torch.is_inference_mode_enabled()
    assert net.training
    assert not any(layer.training for layer in frozen)


def test_views_average_the_probabilities_of_scales_and_mirrors() -> None:
    torch.manual_seed(0)
    net = build("lraspp_mobilenet_v2", 3).eval()
    image = torch.randint(0, 256, (1, 64, 96, 3), dtype=torch.uint8)
    with torch.inference_mode():
        plain = Views().logits(net, image)
        assert torch.equal(plain, logits_of(net, image, None))
        mirrored = Views(flip=True).logits(net, image)
        other = logits_of(net, image.flip(2), None).flip(3)
        torch.testing.assert_close(mirrored, (plain.softmax(1) + other.softmax(1)) / 2)
        scaled = Views(scales=(0.5, 1.0)).logits(net, image)
    assert scaled.shape == plain.shape
    torch.testing.assert_close(scaled.sum(1), torch.ones_like(scaled[:, 0]))


def test_views_at_full_size_are_as_sure_as_what_is_deployed() -> None:
    """Enlarged, then the softmax: beside a border the other order is less sure."""
    torch.manual_seed(0)
    net = build("lraspp_mobilenet_v2", 3).eval()
    image = torch.randint(0, 256, (1, 40, 56, 3), dtype=torch.uint8)
    with torch.inference_mode():
        one = Views(size=(64, 96)).full_size(net, image)
        z = logits_of(net, image, (64, 96))
        wanted = interpolate(z, size=(40, 56), mode="bilinear", align_corners=False).softmax(1)
        torch.testing.assert_close(one, wanted)
        both = Views(size=(64, 96), flip=True).full_size(net, image)
        other = Views(size=(64, 96)).full_size(net, image.flip(2)).flip(3)
        torch.testing.assert_close(both, (one + other) / 2)


def test_work_size_is_what_the_network_sees() -> None:
    net = build("lraspp_mobilenet_v2", 3).eval()
    image = torch.zeros(1, 64, 96, 3, dtype=torch.uint8)
    with torch.inference_mode():
        assert logits_of(net, image, (128, 256)).shape == (1, 3, 16, 32)
