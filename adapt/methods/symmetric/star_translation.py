"""Image translation of symmetric adaptation consistency, after Choi et al., "StarGAN", CVPR 2018.

One generator F draws an image in the colours of the domain asked for; D tells drawn patches from
real ones (adversarial loss) and the domain of an image (domain classification loss); an image drawn
there and back must be as before (reconstruction loss). The adversarial loss is least squares: the
Wasserstein loss with gradient penalty that StarGAN uses needs five steps of D for one of F and a
second derivative, which minutes on a CPU do not pay for.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy, l1_loss, one_hot

from adapt.data.drawing.batches import Batch
from adapt.game import Game, Losses
from adapt.losses import least_squares_to
from adapt.networks.star_discriminator import StarDiscriminator
from adapt.networks.star_generator import StarGenerator
from adapt.optimizers import image_optimizer

DRAWN, REAL = 0.0, 1.0
SOURCE, TARGET = 0, 1
"""The domains as D's and F's codes count them."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """StarGAN's weights between the losses and its learning rate; the document states none."""

    translate_steps: int = 200_000
    translate_batch: int = 16
    translate_crop: str = ""
    """HxW that F is trained on (StarGAN: 128x128); "" for the run's crop"""
    translate_lr: float = 1e-4
    """decays linearly to zero"""
    w_domain: float = 1.0
    """of the domain classification loss"""
    w_reconstruction: float = 20.0
    """of the L1 distance of images in 0..1: StarGAN's 10 of images in -1..1"""
    width: int = 64
    """channels of the first layer of the generator and of every discriminator"""
    blocks: int = 6
    """residual blocks of the generator"""


class StarTranslation:
    """F draws, D judges."""

    def __init__(self, config: Config) -> None:
        self.config = w = config
        self.F = StarGenerator(2, w.width, w.blocks)
        self.D = StarDiscriminator(2, w.width)
        self.game = Game(
            D=image_optimizer([self.D], w.translate_lr, decay="linear"),
            F=image_optimizer([self.F], w.translate_lr, decay="linear"),
        )
        self.state = {"F": self.F, "D": self.D, **self.game.state()}

    def step(self, batch: Batch) -> Losses:
        w, x = self.config, torch.cat([batch.x_s, batch.x_t])
        own = torch.tensor([SOURCE] * len(batch.x_s) + [TARGET] * len(batch.x_t), device=x.device)
        other = 1 - own
        x_other = self.F(x, _code(other))
        x_again = self.F(x_other, _code(own))
        real, drawn = (self.D(images) for images in (x, x_other))
        # D tells real from drawn patches, and the domain of real images.
        loss_D = (
            least_squares_to(real.real, REAL) + least_squares_to(drawn.real, DRAWN)
        ) / 2 + w.w_domain * cross_entropy(real.domain.float(), own)
        # What F draws passes for real and for the other domain, and comes back as it was.
        loss_F = (
            least_squares_to(drawn.real, REAL)
            + w.w_domain * cross_entropy(drawn.domain.float(), other)
            + w.w_reconstruction * l1_loss(x_again, x)
        )
        return self.game.play(D=loss_D, F=loss_F)


def _code(domain: Tensor) -> Float[Tensor, "n 2"]:
    return one_hot(domain, 2).float()
