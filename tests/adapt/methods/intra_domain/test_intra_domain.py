"""Intra-domain adaptation: every equation by hand, and both sides of each adversary."""

import dataclasses
import math

import pytest
import torch
from tiny_batch import tiny_batch, tiny_run
from torch import nn

from adapt.data.drawing.batches import Batch
from adapt.methods.intra_domain.intra_domain import (
    Config,
    IntraDomain,
    continuous,
    kld,
    pixel_level,
)
from adapt.methods.intra_domain.separation import (
    InstanceAdaptive,
    Proportion,
    Separated,
    easy_images,
    median_thresholds,
    separate,
    separated,
)
from adapt.stages.pseudo_labels import Confident, Histograms

P = torch.tensor([[0.6, 0.3, 0.1], [0.45, 0.4, 0.15], [0.34, 0.33, 0.33]]).T[None, :, None]
"""Three pixels, three classes."""
SKY = 2


def test_easy_and_hard_pixels_and_their_index() -> None:
    """Eq. 2, 3, 7. Thresholds 0.8, 0.5, 0.9 by alpha 0.7: 0.56, 0.35, 0.63."""
    y = separate(P, torch.tensor([0.8, 0.5, 0.9]), 0.7)
    found = separated(y, 3)
    # The second pixel's most probable class does not pass; the next one does.
    assert found.labels.tolist() == [[[0, 1, 255]]]
    assert found.M.tolist() == [[[False, False, True]]]
    assert found.Z[0, 0, :2].tolist() == [0, 0]
    assert float(found.Z[0, 0, 2]) == pytest.approx(1 - 0.34, abs=1 / 251)
    assert bool(found.inside.all())


def test_what_is_no_pixel_is_neither_easy_nor_hard() -> None:
    found = separated(torch.tensor([[[255, 2, 3, 254]]], dtype=torch.uint8), 3)
    assert found.inside.tolist() == [[[False, True, True, True]]]
    assert found.M.tolist() == [[[False, False, True, True]]]
    assert found.Z.tolist() == [[[0, 0, 1, 0]]]


def test_a_class_that_is_nowhere_predicted_needs_the_cap() -> None:
    counts = Histograms(3)
    counts.add(
        Confident(torch.zeros(1, 1, 3, dtype=torch.uint8), torch.tensor([[[0.5, 0.6, 0.7]]]))
    )
    torch.testing.assert_close(
        median_thresholds(counts, 0.9), torch.tensor([0.6, 0.9, 0.9]), atol=1e-3, rtol=0
    )


def test_prop_is_the_share_of_easy_pixels() -> None:
    """Eq. 4, and by predicted class."""
    found = Proportion(("road", "sky", "car"))
    found.add(torch.tensor([[0, 0, 1, 1]]), torch.tensor([[0, 254, 1, 1]], dtype=torch.uint8))
    assert found.facts() == {
        "prop": 0.75,
        "prop_by_class": {"road": 0.5, "sky": 1.0, "car": None},
    }


def test_instance_adaptive_thresholds() -> None:
    """Of four pixels of class 0, and 0.9, 0.5 * 0.9 pass: place 2.2 of 0..4; a tenth of it."""
    ias = InstanceAdaptive(2, share=0.5, gamma=1.0)
    confidence = torch.tensor([0.6, 0.7, 0.8, 0.99])
    p = torch.stack([confidence, 1 - confidence])[None, :, None]
    t = ias.next(p)
    torch.testing.assert_close(t, torch.tensor([0.9 * 0.9 + 0.1 * 0.82, 0.9]))


def test_the_easy_images_have_the_least_entropy() -> None:
    assert easy_images([0.3, 0.1, 0.5], 0.67) == {0, 1}


def test_pla_by_hand() -> None:
    """Eq. 6, means for sums: D says 0.2 and 0.4 of easy pixels, 0.6 and 0.8 of hard ones."""
    d = torch.tensor([[[0.2, 0.4, 0.6, 0.8, 0.9]]])
    y = separated(torch.tensor([[[0, 1, 254, 100, 255]]], dtype=torch.uint8), 3)
    loss_D, adv = pixel_level(d, y)
    assert float(loss_D) == pytest.approx(-math.log(0.7) - math.log(0.7))
    assert float(adv) == pytest.approx(-math.log(0.3))


def test_cts_by_hand() -> None:
    """Eq. 8: easy pixels are to be 0, hard ones their index, the border nothing."""
    d = torch.tensor([[[0.2, 0.4, 0.6, 0.8, 0.9]]])
    half = 3 + 251 // 2  # Z = 126 / 251
    y = separated(torch.tensor([[[0, 1, 254, half, 255]]], dtype=torch.uint8), 3)
    loss_D, adv = continuous(d, y)
    wanted = (0.04 + 0.16 + 0.36 + (0.8 - 126 / 251) ** 2) / 4
    assert float(loss_D) == pytest.approx(wanted)
    assert float(adv) == pytest.approx((0.36 + 0.64) / 2)


def test_sides_that_are_not_there_cost_nothing() -> None:
    d = torch.full((1, 1, 2), 0.5, requires_grad=True)
    y = separated(torch.tensor([[[0, 1]]], dtype=torch.uint8), 3)
    assert float(pixel_level(d, y)[1].detach()) == float(continuous(d, y)[1].detach()) == 0
    assert float(pixel_level(d, y)[0].detach()) == pytest.approx(math.log(2))


def test_a_discriminator_that_is_sure_of_all_hard_pixels_still_teaches_g() -> None:
    """1 - D is then 0 in float32: the loss is large, and not 0 as without hard pixels."""
    score = torch.full((1, 1, 2), 30.0, requires_grad=True)
    d = score.sigmoid()
    y = separated(torch.tensor([[[254, 254]]], dtype=torch.uint8), 3)
    assert float((1 - d).sum().detach()) == 0
    assert float(pixel_level(d, y)[1].detach()) == pytest.approx(-math.log(1e-6))


def test_kld_by_hand() -> None:
    z = torch.tensor([[0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3]]).T[None, :, None].log()
    wanted = -(math.log(0.5) + 2 * math.log(0.25)) / 3
    assert float(kld(z, torch.tensor([[[1, 255]]], dtype=torch.uint8))) == pytest.approx(wanted)


def sky_is_hard() -> Batch:
    """Above the houses every pixel is hard, below easy; there is no source."""
    batch = tiny_batch()
    y_t = torch.where(batch.y_s == SKY, 100, 0).to(torch.uint8)
    return batch._replace(x_s=batch.x_s[:0], y_s=batch.y_s[:0], y_t=y_t)


def answers(method: IntraDomain, batch: Batch, hard: torch.Tensor) -> tuple[float, float]:
    """Mean of D's answers on easy and on hard pixels."""
    with torch.no_grad():
        z = nn.functional.interpolate(method.G(batch.x_t).logits, size=(64, 128), mode="bilinear")
        d = method.judged(method.D, z)
    return float(d[~hard].mean()), float(d[hard].mean())


@pytest.mark.parametrize("adversary", ["pla", "cts"])
def test_d_tells_hard_from_easy_and_g_makes_the_hard_easy(adversary: str) -> None:
    torch.manual_seed(0)
    config = Config(
        width_d=8,
        adversary=adversary,
        beta=1.0,
        beta_aux=0.0,
        w_aux=0.0,
        lr_d=3e-3,
        target_norm="separate",
    )  # type: ignore[arg-type]
    method, batch = IntraDomain(config, tiny_run(), 4, kld=False), sky_is_hard()
    hard = batch.y_t >= 4
    rates = {name: o.param_groups for name, o in method.game.optimizers.items()}
    for group in rates["G"]:
        group["lr"] = 0.0
    for _ in range(60):
        method.step(batch)
    easy_says, hard_says = answers(method, batch, hard)
    assert hard_says > easy_says + 0.01
    for group in rates["D"]:
        group["lr"] = 0.0
    for group in rates["G"]:
        group["lr"] = 1e-3
    for _ in range(10):  # nothing is labelled: the adversary alone moves G
        method.step(batch._replace(y_t=torch.where(hard, batch.y_t, 255).to(torch.uint8)))
    assert answers(method, batch, hard)[1] < hard_says


def test_labels_teach_on_easy_pixels_alone() -> None:
    off = Config(width_d=8, beta=0.0, beta_aux=0.0)
    batch = sky_is_hard()
    fewer = torch.where(batch.y_t >= 4, 255, batch.y_t).to(torch.uint8)
    strong = dataclasses.replace(off, w_kld=1.0)
    losses: list[float] = []
    for config, y_t, kld_on in (
        (off, batch.y_t, False),
        (off, fewer, False),
        (strong, fewer, True),
    ):
        torch.manual_seed(0)
        method = IntraDomain(config, tiny_run(), 4, kld=kld_on)
        losses.append(float(method.step(batch._replace(y_t=y_t))["G"]))
    assert losses[0] == pytest.approx(losses[1])
    assert losses[2] > losses[0] + 1  # of four classes the mean -log p is at least log 4


def test_the_source_teaches_beside_the_target_where_it_is_asked() -> None:
    batch = sky_is_hard()
    no_label = torch.full_like(batch.y_t, 255)
    seen = batch._replace(y_t=no_label, x_s=tiny_batch().x_s, y_s=tiny_batch().y_s)
    found = list[float]()
    for w_source in (0.0, 1.0, 2.0):
        torch.manual_seed(0)
        config = Config(width_d=8, halvings_d=3, beta=0.0, beta_aux=0.0, w_source=w_source)
        method = IntraDomain(config, tiny_run(), 4, kld=False)
        found.append(float(method.step(seen)["G"]))
    assert found[0] == 0.0
    assert found[1] > 1.0
    assert found[2] == pytest.approx(2 * found[1])


def test_mixed_crops_have_the_sources_labels_as_easy_pixels() -> None:
    """Nothing is labelled but what is pasted: without mix there is nothing to learn."""
    hard = sky_is_hard()
    hard = hard._replace(y_t=torch.where(hard.y_t >= 4, hard.y_t, 254).to(torch.uint8))
    seen = hard._replace(x_s=tiny_batch().x_s, y_s=tiny_batch().y_s)
    found = list[float]()
    for mix in (False, True):
        torch.manual_seed(0)
        config = Config(width_d=8, halvings_d=3, beta=0.0, beta_aux=0.0, mix=mix)
        method = IntraDomain(config, tiny_run(), 4, kld=False)
        found.append(float(method.step(seen)["G"]))
    assert found[0] == 0.0
    assert found[1] > 1.0


def test_separated_is_what_separate_says() -> None:
    torch.manual_seed(0)
    p = torch.randn(2, 5, 6, 7).softmax(1)
    found = separated(separate(p, torch.full((5,), 0.5), 1.0), 5)
    assert isinstance(found, Separated)
    most = p.max(1).values
    assert torch.equal(found.M, most <= 0.5)
    torch.testing.assert_close(found.Z[found.M], 1 - most[found.M], atol=1 / 249, rtol=0)
    assert torch.equal(found.labels[~found.M], p.argmax(1).to(torch.uint8)[~found.M])
