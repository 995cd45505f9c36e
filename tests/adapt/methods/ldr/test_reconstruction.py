"""Equations 1 to 6 of label-driven reconstruction, each against a case worked out by hand."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_batch import tiny_batch, tiny_run
from torch import Tensor, nn

from adapt import saved_state
from adapt.data.drawing.batches import Batch
from adapt.methods.ldr.joint import Config, Joint, Segmentation
from adapt.methods.ldr.reconstruction import Pretraining, Rebuilder, near_one_hot, one_hot
from adapt.networks.patch_discriminator import Judged, Pyramid
from adapt.networks.segmentor import Segmented, Segmentor

TINY = Config(width=4, blocks=1)


class Fixed(Segmentor):
    """A network that answers what it was given; one parameter, so that it can be a player."""

    align_corners = False

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer
        self.p = nn.Parameter(torch.zeros(()))

    def forward(self, *_: Tensor) -> Any:
        return self.answer


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_both_sides_of_equation_5_move_the_label_map() -> None:
    """Omega is predicted: where the real side stood still, G would learn to look like its past."""
    torch.manual_seed(0)
    config = dataclasses.replace(TINY, w_perceptual=0.0)
    rebuild = Rebuilder(config, 2)
    rebuild.M = Fixed(torch.rand(1, 3, 64, 64))  # type: ignore[assignment] - does not hear Omega
    x, omega = torch.rand(1, 3, 64, 64), torch.rand(1, 2, 64, 64, requires_grad=True)
    [found] = torch.autograd.grad(rebuild(omega, x).reconstruction, omega)
    real, fake = (rebuild.D_k(torch.cat([omega, y], 1)) for y in (x, rebuild.M(omega)))
    literal = sum(
        (a - b).abs().mean()
        for one, other in zip(real, fake, strict=True)
        for a, b in zip(one.features, other.features, strict=True)
    )
    [wanted] = torch.autograd.grad(literal, omega)
    assert float(wanted.abs().sum()) > 0
    torch.testing.assert_close(found, wanted)


def test_equations_1_and_2() -> None:
    """One source and one target pixel, two classes: every term from its formula."""
    z = torch.tensor([[2.0, 0.0], [0.0, 1.0]]).view(2, 2, 1, 1)  # source, target
    d = torch.tensor([-0.5, 0.25]).view(2, 1, 1, 1)  # D's logits of being the target
    config = dataclasses.replace(TINY, w_adv=0.1, w_aux=0.0)
    method = Segmentation(config, tiny_run(), 2)
    method.G = Fixed(Segmented(z, z))  # type: ignore[assignment]
    # D sees the probability of class 0: of the source pixel, or of the target's.
    seen = {round(float(p), 3): of for p, of in zip(z.softmax(1)[:, 0, 0, 0], d, strict=True)}
    method.D = lambda p: seen[round(float(p[0, 0, 0, 0]), 3)][None]  # type: ignore[assignment]
    x = torch.rand(1, 3, 1, 1)
    batch = Batch(x, torch.tensor([[[0]]], dtype=torch.uint8), x, torch.tensor([[[1]]]).byte())
    method.recolour = lambda x: x  # type: ignore[assignment]
    _, loss_D, loss_G = method.losses(batch)
    # Eq. 2: D says 0 for the source, 1 for the target.
    assert float(loss_D) == pytest.approx((softplus(-0.5) + softplus(-0.25)) / 2)
    source = softplus(-2.0)  # -log softmax of class 0 with logits 2, 0
    target = softplus(-1.0)  # -log softmax of class 1 with logits 0, 1
    fools = softplus(0.25)  # -log of D's probability that the target is the source
    assert float(loss_G) == pytest.approx(source + target + 0.1 * fools)


def test_without_pseudo_labels_equation_1_has_no_such_term() -> None:
    method = Segmentation(dataclasses.replace(TINY, w_adv=0.0, w_aux=0.0), tiny_run(), 4)
    method.recolour = lambda x: x  # type: ignore[assignment]
    method.G.eval()
    batch = tiny_batch()
    with torch.no_grad():
        _, _, loss = method.losses(batch)
        _, _, with_labels = method.losses(batch._replace(y_t=batch.y_s))
        logits = method.G(batch.x_s).logits
    z_s = nn.functional.interpolate(logits, scale_factor=8, mode="bilinear")
    alone = nn.functional.cross_entropy(z_s, batch.y_s.long(), ignore_index=255)
    assert float(loss) == pytest.approx(float(alone), rel=1e-4)
    assert float(with_labels) > float(loss)


def test_equation_3() -> None:
    z = torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1)
    e = [math.exp(1 / 0.5), 1.0, math.exp(-1 / 0.5)]
    wanted = torch.tensor(e).view(1, 3, 1, 1) / sum(e)
    torch.testing.assert_close(near_one_hot(z, 0.5), wanted)


@pytest.mark.parametrize("tau", [1e-4, 1e-3, 1e-2, 0.1, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_equation_3_is_stable(tau: float, dtype: torch.dtype) -> None:
    """Large logits, ties and near ties: a distribution, with a finite gradient."""
    z = torch.tensor([[300.0, -300, 0], [5, 5, 5], [1, 1 + tau / 8, 0]], dtype=dtype)
    z = z.T.reshape(1, 3, 1, 3).requires_grad_()
    omega = near_one_hot(z, tau)
    assert omega.dtype == torch.float32
    torch.testing.assert_close(omega.sum(1), torch.ones(1, 1, 3))
    (omega * torch.rand_like(omega)).sum().backward()
    assert z.grad is not None
    assert z.grad.isfinite().all()
    assert float(z.grad.abs().sum()) > 0


@pytest.mark.parametrize("tau", [1e-3, 1e-2, 1.0])
def test_the_gradient_of_equation_3_is_that_of_finite_differences(tau: float) -> None:
    torch.manual_seed(0)
    z = (tau * torch.randn(2, 4, 3, 3, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: near_one_hot(z, tau), z, eps=1e-6 * tau, atol=1e-4)


def test_a_true_label_is_one_hot_and_nothing_where_ignored() -> None:
    y = torch.tensor([[[0, 2, 255]]], dtype=torch.uint8)
    wanted = torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 1, 0]]).view(1, 3, 1, 3)
    assert torch.equal(one_hot(y, 3), wanted)


def rebuilder(real: float, fake: float, feature: float) -> Rebuilder:
    """Fixed answers: D_k's logits on both halves, and features that differ by `feature`."""
    rebuild = Rebuilder(dataclasses.replace(TINY, w_perceptual=3.0), 2)
    logits = torch.tensor([real, fake]).view(2, 1, 1, 1)
    features = torch.tensor([1.0, 1.0 + feature]).view(2, 1, 1, 1)
    judged = [Judged((features, 2 * features), logits)] * 3
    rebuild.D_k = Fixed(judged)  # type: ignore[assignment]
    rebuild.M = Fixed(torch.full((1, 3, 2, 2), 0.75))  # type: ignore[assignment]
    return rebuild


def test_equation_4() -> None:
    """Three discriminators, logits 1.5 for the real and -0.5 for the rebuilt image."""
    r = rebuilder(1.5, -0.5, 0.0)(torch.zeros(1, 2, 2, 2), torch.full((1, 3, 2, 2), 0.5))
    # -Eq. 4 = -(log sigmoid(1.5) + log(1 - sigmoid(-0.5))), three times.
    assert float(r.discrimination) == pytest.approx(3 * (softplus(-1.5) + softplus(-0.5)))
    assert float(r.adversarial) == pytest.approx(3 * softplus(0.5))


def test_equation_5() -> None:
    """Features that differ by 0.4 and 0.8 at three scales; V the identity, images 0.25 apart."""
    rebuild = rebuilder(0.0, 0.0, 0.4)
    rebuild.V = Identity()  # type: ignore[assignment]
    r = rebuild(torch.zeros(1, 2, 2, 2), torch.full((1, 3, 2, 2), 0.5))
    assert float(r.reconstruction) == pytest.approx(3.0 * 2 * 0.25 + 3 * (0.4 + 0.8))


class Identity(nn.Module):
    """A V of two layers, each the image itself."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x, x]


def test_equation_6() -> None:
    """The joint loss is Eq. 1 plus both cities' weighted Eq. 4 and 5."""
    torch.manual_seed(0)
    config = dataclasses.replace(TINY, alpha=0.3, beta=0.7)
    method = Joint(config, dataclasses.replace(tiny_run(), lr=0.0), 4)
    method.segmentation.recolour = lambda x: x  # type: ignore[assignment]
    batch = tiny_batch()
    with torch.no_grad():
        z, _, eq_1 = method.segmentation.losses(batch)
        omega, x = near_one_hot(z, config.tau), torch.cat([batch.x_s, batch.x_t])
        cities = [method.rebuild(omega[i : i + 4], x[i : i + 4]) for i in (0, 4)]
    wanted = eq_1 + sum(0.3 * r.adversarial + 0.7 * r.reconstruction for r in cities)
    losses = method.step(batch)
    assert float(losses["G"]) == pytest.approx(float(wanted), rel=1e-4)
    assert float(losses["D_k"]) == pytest.approx(
        float(sum(r.discrimination for r in cities)) / 2, rel=1e-4
    )


def test_one_pass_of_every_network_a_step() -> None:
    """G, M and D_k run once a step, D once a city: nothing is computed twice."""
    method = Joint(TINY, tiny_run(), 4)
    networks = {"G": method.G, "M": method.M, "D": method.segmentation.D}
    networks |= {"D_k": method.rebuild.D_k}
    calls: list[str] = []
    for name, network in networks.items():
        network.register_forward_hook(lambda *_, name=name: calls.append(name))
    method.step(tiny_batch())
    assert sorted(calls) == ["D", "D", "D_k", "G", "M"]


def test_the_reconstruction_corrects_the_segmentor() -> None:
    """With nothing else to learn from, Eq. 5 alone moves G."""
    torch.manual_seed(0)
    config = dataclasses.replace(TINY, alpha=0.0, w_adv=0.0, w_aux=0.0, tau=0.1)
    method = Joint(config, tiny_run(), 4)
    batch = tiny_batch()
    nothing = batch._replace(y_s=torch.full_like(batch.y_s, 255))
    before = [p.clone() for p in method.G.parameters()]
    method.step(nothing)
    pairs = zip(before, method.G.parameters(), strict=True)
    assert any(not torch.equal(p, q) for p, q in pairs)


def test_adversarial_signs() -> None:
    """D_k learns to say 1 of real images; M alone then raises what it says of rebuilt ones."""
    torch.manual_seed(0)
    rebuild = Rebuilder(TINY, 4)
    batch = tiny_batch()
    omega = one_hot(batch.y_s, 4)
    players = rebuild.optimizers()

    def scores() -> tuple[float, float]:
        with torch.no_grad():
            rebuilt = rebuild.M(omega)
            real = rebuild.D_k(torch.cat([omega, batch.x_s], 1))
            fake = rebuild.D_k(torch.cat([omega, rebuilt], 1))
        means = [torch.stack([j.logits.mean() for j in judged]).mean() for judged in (real, fake)]
        return float(means[0]), float(means[1])

    def move(name: str, loss: str) -> None:
        players[name].zero_grad()
        getattr(rebuild(omega, batch.x_s), loss).backward()
        players[name].step()

    for _ in range(15):
        move("D_k", "discrimination")
    real, fake = scores()
    assert real > fake
    for _ in range(15):
        move("M", "adversarial")
    assert scores()[1] > fake


def test_pretraining_lowers_the_reconstruction_loss() -> None:
    torch.manual_seed(0)
    method = Pretraining(dataclasses.replace(TINY, pretrain_lr=2e-3), 4)
    batch = tiny_batch()

    def error() -> float:
        with torch.no_grad():
            rebuilt = method.rebuild.M(one_hot(batch.y_s, 4))
        return float(nn.functional.l1_loss(rebuilt, batch.x_s))

    before = error()
    for _ in range(40):
        method.step(batch)
    assert error() < 0.8 * before


@pytest.mark.parametrize("space", ["label", "feature"])
@pytest.mark.parametrize("make", [Joint, Segmentation])
def test_a_step_moves_everything_and_resumes_exactly(make: Any, space: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config, batch = dataclasses.replace(TINY, space=space), tiny_batch()
    method = make(config, tiny_run(), 4)
    networks = {k: v for k, v in method.state.items() if isinstance(v, nn.Module)}
    before = {k: [p.clone() for p in v.parameters()] for k, v in networks.items()}
    losses = method.step(batch)
    assert all(loss.isfinite() and not loss.requires_grad for loss in losses.values())
    for name, network in networks.items():
        pairs = zip(before[name], network.parameters(), strict=True)
        assert any(not torch.equal(p, q) for p, q in pairs), name
    saved_state.save(tmp_path / "last.safetensors", method.state, 1)
    torch.manual_seed(1)
    expected = method.step(batch)
    other = make(config, tiny_run(), 4)
    saved_state.load(tmp_path / "last.safetensors", other.state)
    torch.manual_seed(1)
    assert all(torch.equal(v, expected[k]) for k, v in other.step(batch).items())


def test_bfloat16_steps_stay_finite() -> None:
    torch.manual_seed(0)
    method = Joint(TINY, tiny_run(), 4)
    for _ in range(3):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            losses = method.step(tiny_batch())
        assert all(loss.isfinite() for loss in losses.values())


def test_the_pyramid_halves_the_image() -> None:
    judged = Pyramid(3, 4)(torch.rand(1, 3, 64, 128))
    assert [j.logits.shape[2:] for j in judged] == [(11, 19), (7, 11), (5, 7)]
    assert [len(j.features) for j in judged] == [4, 4, 4]
