"""The game of pivot interaction transfer: its equations by hand, and where each loss pulls."""

import dataclasses
import math
from typing import cast

import pytest
import torch
from tiny_batch import tiny_batch, tiny_run
from torch import nn

from adapt.data.drawing.batches import Batch
from adapt.data.image_labels import class_shares
from adapt.game import Losses
from adapt.methods.pivot.image_classifier import FeatureDraws, ImageClassifier
from adapt.methods.pivot.pivot import Config, Pivot, distance
from adapt.networks import build
from adapt.networks.region_expansion import RegionExpansion, log_mean_exp
from adapt.networks.segmentors.lraspp import LRASPPMobileNetV2
from roadshift import UserError


def labelled_batch() -> Batch:
    batch = tiny_batch()
    return batch._replace(v_t=class_shares(batch.y_s, 4))


def test_shares_are_of_the_labelled_pixels() -> None:
    y = torch.tensor([[[0, 0, 2, 255]], [[255, 255, 255, 255]]], dtype=torch.uint8)
    assert torch.allclose(class_shares(y, 3), torch.tensor([[2 / 3, 0, 1 / 3], [0, 0, 0]]))


def test_log_mean_exp_is_equation_1() -> None:
    S = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
    by_hand = math.log(sum(math.exp(0.5 * v) for v in range(4)) / 4)
    assert float(log_mean_exp(S, 0.5)) == pytest.approx(by_hand)
    assert float(log_mean_exp(S, 0.5, divided=True)) == pytest.approx(by_hand / 0.5)
    # Large values do not overflow, and a larger r asks the strongest positions more.
    assert float(log_mean_exp(S + 1000, 1.5)) == pytest.approx(
        1500 + float(log_mean_exp(S, 1.5)), rel=1e-5
    )
    assert log_mean_exp(S, 4.0, divided=True) > log_mean_exp(S, 0.5, divided=True)


def test_together_is_the_weighted_sum_of_the_maps() -> None:
    units = RegionExpansion([3], 2, 2)
    units.w.data = torch.tensor([2.0, -1.0])
    maps = [torch.full((1, 2, 1, 1), v) for v in (3.0, 4.0)]
    assert units.together(maps).flatten().tolist() == [2.0, 2.0]
    assert RegionExpansion([3], 2, 4).w.tolist() == [0.25] * 4


def test_units_are_as_fine_as_what_the_head_reads() -> None:
    """Or L_r would blur the segmentor's own map to theirs."""
    units = RegionExpansion([3, 2], 2, 1)
    features, skip = torch.zeros(1, 3, 1, 2), torch.zeros(1, 2, 4, 8)
    before = units([features, skip])[0]
    skip[0, 1, 2, 5] = 1.0
    changed = (units([features, skip])[0] - before).abs().sum(1)[0]
    assert changed.shape == (4, 8)
    assert changed.nonzero().tolist() == [[2, 5]]
    method = Pivot(Config(), tiny_run(), 2)
    out = method.G.eval()(torch.zeros(1, 3, 64, 64))
    assert method.maps(out, (64, 64))[0].shape == (1, 2, 64, 64)
    assert len(method.U.units[0]) == len(out.pre_logits)


def test_the_units_can_draw_the_segmentors_own_map() -> None:
    """As in the document, where both are one convolution of F_m: else L_r asks for flatter maps."""
    torch.manual_seed(0)
    G = LRASPPMobileNetV2(3).eval()
    out = G(torch.rand(2, 3, 64, 96))
    U = RegionExpansion([z.shape[1] for z in G.probed().pre_logits], 3, 1)
    unit = cast(nn.ModuleList, U.units[0])
    for conv, own in zip(unit, (G.head.high_classifier, G.head.low_classifier), strict=True):
        conv.weight.data = own.weight.data
    unit[0].bias.data = G.head.high_classifier.bias + G.head.low_classifier.bias
    assert torch.allclose(U.together(U(out.pre_logits)), out.logits, atol=1e-5)
    assert float(out.logits.detach().std()) > 1e-3


def test_the_distance_is_the_mean_square() -> None:
    S = torch.tensor([[[[1.0, 2.0]], [[0.0, 0.0]]]])
    assert float(distance(S + torch.tensor([1.0, 3.0]), S)) == pytest.approx(5.0)


def test_the_image_level_loss_sums_units_and_classes() -> None:
    """BCE of sigmoid(s) with soft labels, of two units and two classes, by hand."""
    method = Pivot(Config(r=(1.0, 2.0)), tiny_run(), 2)
    maps = [torch.full((2, 2, 1, 1), 0.3), torch.full((2, 2, 1, 1), -0.2)]
    y = torch.tensor([[0.25, 0.75], [0.5, 0.5]])

    def bce(s: float, share: float) -> float:
        p = 1 / (1 + math.exp(-s))
        return -share * math.log(p) - (1 - share) * math.log(1 - p)

    each = [sum(bce(s, v) for s in (0.3, -0.4) for v in row) for row in y.tolist()]
    both = method.image_level(maps, y, torch.ones(2))
    assert float(both) == pytest.approx(sum(each) / 2)
    # An image without a labelled pixel says nothing.
    assert float(method.image_level(maps, y, torch.tensor([1.0, 0.0]))) == pytest.approx(each[0])


def test_the_loss_is_the_sum_of_its_parts() -> None:
    torch.manual_seed(0)
    config = Config(w_c=0.5, w_r=0.25, w_aux=0.0)
    losses = Pivot(config, tiny_run(), 4).step(labelled_batch())
    whole = losses["L_f"] + 0.5 * losses["L_c"] + 0.25 * losses["L_r"]
    assert float(losses["G"]) == pytest.approx(float(whole), rel=1e-5)


STILL = dataclasses.replace(tiny_run(), optimizer="sgd", lr=0.05)


def answers(method: Pivot, batch: Batch) -> torch.Tensor:
    """The units' mean image-level answers of the target, by class."""
    with torch.no_grad():
        maps = method.maps(method.G(batch.x_t), (64, 128))
        found = [log_mean_exp(S, r).sigmoid() for S, r in zip(maps, method.config.r, strict=True)]
    return torch.stack(found).mean((0, 1))


def test_image_level_labels_raise_what_is_there_and_lower_what_is_not() -> None:
    torch.manual_seed(0)
    method = Pivot(Config(w_r=0.0, target_norm="separate"), STILL, 4, presence=True)
    there = torch.tensor([1.0, 0.0, 1.0, 0.0]).expand(4, 4)
    batch = labelled_batch()._replace(v_t=there, y_s=torch.full_like(tiny_batch().y_s, 255))
    before = answers(method, batch)
    for _ in range(10):
        method.step(batch)
    moved = answers(method, batch) - before
    assert (moved * (2 * there[0] - 1) > 0.05).all()


def reconstruction(source: float, lr: float, steps: int) -> list[float]:
    """L_r over some steps that nothing else moves."""
    torch.manual_seed(0)
    config = Config(w_c=0.0, w_r=1.0, w_r_source=source, w_aux=0.0, target_norm="separate")
    method = Pivot(config, dataclasses.replace(STILL, lr=lr), 4)
    batch = labelled_batch()
    unlabelled = batch._replace(y_s=torch.full_like(batch.y_s, 255))
    return [float(method.step(unlabelled)["L_r"]) for _ in range(steps)]


def test_the_reconstruction_falls() -> None:
    first, second, third = reconstruction(1.0, 1e-5, 3)
    assert third < second < first


def test_the_source_has_the_part_in_the_reconstruction_that_is_asked_for() -> None:
    without, once, twice = (reconstruction(part, 0.0, 1)[0] for part in (0.0, 1.0, 2.0))
    assert without > 0
    assert once > 1.1 * without
    assert twice - once == pytest.approx(once - without, rel=1e-3)


def test_without_a_weight_its_part_moves_nobody() -> None:
    """No L_c and no L_r: the units stay, but for nothing; w moves by L_r alone."""
    torch.manual_seed(0)
    method = Pivot(Config(w_c=0.0, w_r=0.0), dataclasses.replace(STILL, weight_decay=0.0), 4)
    before = [p.detach().clone() for p in method.U.parameters()]
    method.step(labelled_batch())
    assert all(torch.equal(a, b) for a, b in zip(before, method.U.parameters(), strict=True))
    torch.manual_seed(0)
    method = Pivot(Config(w_c=0.0), STILL, 4)
    w = method.U.w.detach().clone()
    method.step(labelled_batch())
    assert not torch.equal(w, method.U.w)


def test_presence_makes_the_source_say_what_is_there_too() -> None:
    """With whole-image presence L_c of a source that shows all classes is that of ones."""

    def played(presence: bool) -> Losses:
        torch.manual_seed(0)
        method = Pivot(Config(), STILL, 4, presence=presence)
        for parameter in method.U.units.parameters():  # at zero every label costs the same
            parameter.data.mul_(100)
        return method.step(labelled_batch())

    shares, presence = played(False), played(True)
    assert float(presence["L_c"]) != pytest.approx(float(shares["L_c"]), rel=1e-3)


def test_fcn_features_lie_where_the_image_is() -> None:
    """Of a map that says its own column, enlarged: column j around pixel 32 j + 12.5."""
    columns = torch.arange(33.0).expand(1, 1, 17, 33)
    wide = build("fcn8s_vgg16", 2).enlarged(columns, (512, 1024))[0, 0, 0]
    assert wide.shape == (1024,)
    assert float((wide[32 * 5 + 12] + wide[32 * 5 + 13]) / 2) == pytest.approx(5.0)
    assert float((wide[32 * 20 + 12] + wide[32 * 20 + 13]) / 2) == pytest.approx(20.0)


def test_the_classifier_steps_by_the_gradient_of_the_soft_cross_entropy() -> None:
    method = ImageClassifier(2, 2, lr=0.1)
    x, y = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.75, 0.25]])
    nothing = torch.empty(0, dtype=torch.uint8)
    loss = method.step(Batch(x, nothing, nothing, nothing, v_s=y))["P"]
    assert float(loss) == pytest.approx(math.log(2))
    # dL/dz = softmax - y = (-0.25, 0.25); W moves by -lr dz x.
    assert torch.allclose(method.P.weight, torch.tensor([[0.025, 0.05], [-0.025, -0.05]]))


def test_an_epoch_has_every_labelled_image_once() -> None:
    shares = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.5, 0.5]])
    draws = FeatureDraws.of(torch.arange(3.0)[:, None], shares, seed=3)
    drawn = [float(draws[k].x_s) for k in range(4)]
    assert sorted(drawn[:2]) == sorted(drawn[2:]) == [0.0, 2.0]


@pytest.mark.parametrize(
    "wrong", [{"w_c": -1.0}, {"r": ()}, {"r": (0.5, 0.0)}, {"w_r_source": -0.1}]
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UserError, match="wanted"):
        Config(**wrong)  # type: ignore[arg-type]
