"""StarGAN's losses by hand, the sign of its adversary, and that the code decides the direction."""

import dataclasses
import math

import pytest
import torch
from tiny_batch import tiny_batch
from torch import nn

from adapt.methods.symmetric.star_translation import Config, StarTranslation
from adapt.networks.star_discriminator import Origin
from adapt.networks.star_generator import StarGenerator, Towards

TINY = Config(width=4, blocks=1, translate_lr=2e-3)


class Grey(nn.Module):
    """Draws the source as 0.25, the target as 0.75."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor(0.25))

    def forward(self, x: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        return (self.p + 0.5 * code[:, 1])[:, None, None, None].expand_as(x)


class Says(nn.Module):
    """Of every patch 0.2, of every image that it is twice as likely the target's."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor(0.2))

    def forward(self, x: torch.Tensor) -> Origin:
        domain = torch.tensor([0.0, math.log(2)]).expand(len(x), 2) + 0 * self.p
        return Origin(self.p.expand(len(x), 1, 1, 1), domain)


def test_the_losses_are_stargans() -> None:
    """One grey image (0.5) of each city; F and D say what the classes above do."""
    method = StarTranslation(dataclasses.replace(TINY, w_domain=3.0, w_reconstruction=10.0))
    method.F, method.D = Grey(), Says()  # type: ignore[assignment]
    method.game.optimizers = {
        "D": torch.optim.SGD([method.D.p], lr=0.0),  # type: ignore[list-item]
        "F": torch.optim.SGD([method.F.p], lr=0.0),  # type: ignore[list-item]
    }
    grey = torch.full((1, 3, 64, 128), 0.5)
    losses = method.step(tiny_batch()._replace(x_s=grey, x_t=grey))
    # The probabilities 1/3 and 2/3 are asked of one image of each domain.
    domain = -(math.log(1 / 3) + math.log(2 / 3)) / 2
    assert float(losses["D"]) == pytest.approx((0.8**2 + 0.2**2) / 2 + 3 * domain)
    assert float(losses["F"]) == pytest.approx(0.8**2 + 3 * domain + 10 * 0.25)


def test_adversarial_signs() -> None:
    """D alone learns to tell real from drawn; F alone then raises what D says of drawn patches."""
    torch.manual_seed(0)
    config = dataclasses.replace(TINY, w_domain=0.0, w_reconstruction=0.0, translate_lr=1e-2)
    method, batch = StarTranslation(config), tiny_batch()
    players = method.game.optimizers
    nn.init.normal_(method.F.generator.layers[-1].weight, 0, 0.5)  # type: ignore[arg-type]

    def says() -> tuple[float, float]:
        with torch.no_grad():
            code = torch.tensor([[0.0, 1.0]]).expand(len(batch.x_s), 2)
            real, drawn = method.D(batch.x_s), method.D(method.F(batch.x_s, code))
            return float(real.real.mean()), float(drawn.real.mean())

    players["F"].param_groups[0]["lr"] = 0.0
    for _ in range(20):
        method.step(batch)
    real, before = says()
    assert real > before
    players["F"].param_groups[0]["lr"], players["D"].param_groups[0]["lr"] = 1e-2, 0.0
    for _ in range(10):
        method.step(batch)
    assert says()[1] > before


def test_the_code_decides_what_is_drawn_also_inside_the_image() -> None:
    """In StarGAN's own layout instance norm leaves the code's planes no effect but at borders."""
    torch.manual_seed(0)
    F = StarGenerator(2, 8, 1).eval()
    nn.init.normal_(F.generator.layers[-1].weight, 0, 0.2)  # type: ignore[arg-type]
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        one, other = (Towards(F, domain)(x) for domain in (0, 1))
    inside = (one - other)[..., 28:36, 28:36].abs()
    assert float(inside.mean()) > 1e-3


def test_untrained_it_copies() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 30, 46) * 0.9 + 0.05
    with torch.no_grad():
        assert float((Towards(StarGenerator(2, 8, 1), 1)(x) - x).abs().max()) < 0.05
