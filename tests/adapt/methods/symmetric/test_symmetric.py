"""Two segmentors: signs of both adversaries, consistency by hand."""

import math

import pytest
import torch
from tiny_batch import tiny_batch, tiny_run
from torch import nn

from adapt.data.drawing.batches import Batch
from adapt.methods.symmetric.consistency import jensen_shannon, judged, overlap
from adapt.methods.symmetric.symmetric import Config, Symmetric


def pixel(*p: float) -> torch.Tensor:
    return torch.tensor(p)[None, :, None, None]


def unlabelled() -> Batch:
    batch = tiny_batch()
    return batch._replace(y_s=torch.full_like(batch.y_s, 255))


def scores(method: Symmetric, batch: Batch) -> dict[str, float]:
    """What each discriminator says (1: target) of its segmentor's outputs, by city."""
    found: dict[str, float] = {}
    with torch.no_grad():
        for name, G, D in (("A", method.A, method.D_A), ("B", method.B, method.D_B)):
            z = G(torch.cat([batch.x_s, batch.x_t])).logits
            full = nn.functional.interpolate(z, size=batch.x_t.shape[-2:], mode="bilinear")
            d_s, d_t = D(full.softmax(1)).chunk(2)
            found |= {name + "s": float(d_s.mean()), name + "t": float(d_t.mean())}
    return found


def test_a_moves_its_target_to_the_source_and_b_its_source_to_the_target() -> None:
    torch.manual_seed(0)
    config = Config(width_d=8, w_adv=1.0, w_aux=0.0, lr_d=0.0, target_norm="joint")
    method, batch = Symmetric(config, tiny_run(), 4), unlabelled()
    before = scores(method, batch)
    for _ in range(10):
        method.step(batch)
    after = scores(method, batch)
    assert after["At"] < before["At"]
    assert after["Bs"] > before["Bs"]


def test_each_discriminator_learns_which_city_is_which() -> None:
    torch.manual_seed(0)
    config = Config(width_d=8, lr_d=1e-2, target_norm="joint")
    method, batch = Symmetric(config, tiny_run(), 4), tiny_batch()
    for name in ("A", "B"):
        for group in method.game.optimizers[name].param_groups:
            group["lr"] = 0.0
    for _ in range(20):
        method.step(batch)
    found = scores(method, batch)
    assert found["At"] > found["As"]
    assert found["Bt"] > found["Bs"]


def test_without_adversaries_each_learns_the_labels_alone() -> None:
    """The losses of A and B are then the cross-entropies, also of the target's pseudo labels."""
    torch.manual_seed(0)
    batch = tiny_batch()
    method = Symmetric(Config(width_d=8, w_adv=0.0), tiny_run(), 4)
    torch.manual_seed(1)
    alone = method.step(batch)
    torch.manual_seed(0)
    method = Symmetric(Config(width_d=8, w_adv=0.0), tiny_run(), 4)
    torch.manual_seed(1)
    labelled = method.step(batch._replace(y_t=batch.y_s))
    assert float(labelled["A"]) > 1.5 * float(alone["A"])
    assert float(labelled["B"]) > 1.5 * float(alone["B"])


def test_consistency_by_hand() -> None:
    p, q = pixel(0.8, 0.2), pixel(0.4, 0.6)
    # m = (0.6, 0.4); entropies 0.67301, 0.50040, 0.67301
    wanted = 1 - (0.673012 - (0.500402 + 0.673012) / 2) / math.log(2)
    assert float(jensen_shannon(p, q)) == pytest.approx(wanted, abs=1e-5)
    assert float(overlap(p, q)) == pytest.approx(0.4 + 0.2)
    for measure in (jensen_shannon, overlap):
        assert float(measure(p, p)) == pytest.approx(1)
        assert float(measure(pixel(1.0, 0.0), pixel(0.0, 1.0))) == pytest.approx(0, abs=1e-6)
        torch.testing.assert_close(measure(p, q), measure(q, p))


def test_m_total_is_the_mean_of_probability_and_consistency() -> None:
    p, q = pixel(0.8, 0.2), pixel(0.4, 0.6)
    found = judged(p, q, "overlap")
    assert found.labels.tolist() == [[[0]]]  # the mean is (0.6, 0.4)
    assert float(found.confidence) == pytest.approx((0.6 + 0.6) / 2)
    assert float(judged(p, q, "none").confidence) == pytest.approx(0.6)
    both = float(judged(p, q, "jensen_shannon").confidence)
    assert both == pytest.approx((0.6 + float(jensen_shannon(p, q))) / 2)
