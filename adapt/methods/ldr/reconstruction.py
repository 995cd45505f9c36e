"""Label-driven reconstruction (Yang et al., "Label-Driven Reconstruction for Domain Adaptation in
Semantic Segmentation", ECCV 2020).

Target images are drawn as source images (`translation.py`), segmented by G, and rebuilt by M from
nothing but the predicted labels; where the rebuilt image is not the image, the labels are wrong,
and G is corrected. M is trained first on the source's true labels; G learns in rounds, each with
pseudo labels from the one before. What is deployed is G(F(x)).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import l1_loss

from adapt.data.drawing.batches import Batch
from adapt.game import Game, Losses
from adapt.losses import cross_entropy_to
from adapt.methods.ldr.translation import DRAWN, REAL, Generators
from adapt.networks.image_generator import Reconstructor
from adapt.networks.patch_discriminator import Pyramid
from adapt.networks.perceptual import Perceptual, read_perceptual
from adapt.optimizers import image_optimizer


@dataclass(frozen=True, kw_only=True)
class Config(Generators):
    """The authors' numbers for ResNet-101; for VGG-16: alpha 1e-2."""

    alpha: float = 0.001
    """of M's adversaries (Eq. 6)"""
    beta: float = 10.0
    """of the reconstruction loss (Eq. 6)"""
    w_perceptual: float = 1.0
    """of the perceptual term of Eq. 5 (Table 6)"""
    w_matching: float = 1.0
    """of the discriminators' feature matching in Eq. 5 (Table 6)"""
    perceptual: Literal["vgg19", "mobilenet_v2", "none"] = "vgg19"
    """the network whose features the perceptual term compares"""
    perceptual_weights: str = ""
    """its ImageNet weights, a .safetensors or .pth file; without one the term is off"""
    pretrain_steps: int = 100_000
    pretrain_lr: float = 2e-4
    """of M and its discriminators, falling linearly to zero"""


def near_one_hot(z: Float[Tensor, "n c h w"], tau: float) -> Float[Tensor, "n c h w"]:
    """Omega (Eq. 3): softmax(z / tau), a label map with a gradient.

    In float32 at least, from differences to the largest logit: nothing overflows, what is far
    behind is 0, and so is its gradient (never nan).
    """
    z = z.to(torch.promote_types(z.dtype, torch.float32))
    return ((z - z.amax(1, keepdim=True)) / tau).softmax(1)


def one_hot(y: UInt8[Tensor, "n h w"], classes: int) -> Float[Tensor, "n c h w"]:
    """The label map Omega of a true label; ignored pixels are 0 in all classes."""
    return (y[:, None] == torch.arange(classes, device=y.device)[:, None, None]).float()


class Rebuilding(NamedTuple):
    """What rebuilding an image from its label map costs whom."""

    discrimination: Tensor
    """-L_adv (Eq. 4), which D_1..D_3 minimise"""
    adversarial: Tensor
    """rebuilt images pass for real: the part of Eq. 4 that moves M, in its non-saturating form
    (that of real images, which would move G through Omega, is left out)"""
    reconstruction: Tensor
    """L_rec (Eq. 5)"""


class Rebuilder:
    """M draws label maps, D_1..D_3 judge, V compares; shared by both stages that train M."""

    def __init__(self, config: Config, classes: int) -> None:
        self.config = config
        self.M = Reconstructor(classes, config.width, config.blocks)
        self.D_k = Pyramid(classes + 3, config.width)
        self.V: Perceptual | None = read_perceptual(config.perceptual, config.perceptual_weights)

    def __call__(self, omega: Float[Tensor, "n c h w"], x: Float[Tensor, "n 3 h w"]) -> Rebuilding:
        """Means over the images. One pass of D_1..D_3 over real and rebuilt images serves all."""
        w, rebuilt = self.config, self.M(omega)
        pairs = torch.cat([torch.cat([omega, x], 1), torch.cat([omega, rebuilt], 1)])
        judged = [(d.features, *d.logits.chunk(2)) for d in self.D_k(pairs)]
        loss_D_k = _sum(
            cross_entropy_to(real, REAL) + cross_entropy_to(fake, DRAWN) for _, real, fake in judged
        )
        adversarial = _sum(cross_entropy_to(fake, REAL) for _, _, fake in judged)
        halves = [f.chunk(2) for features, _, _ in judged for f in features]
        # Both sides read Omega, and through both it is moved; M is through the rebuilt one alone.
        matching = _sum(l1_loss(fake, real) for real, fake in halves)
        rec = w.w_perceptual * self._perceptual(rebuilt, x) + w.w_matching * matching
        return Rebuilding(loss_D_k, adversarial, rec)

    def _perceptual(self, rebuilt: Tensor, x: Tensor) -> Tensor:
        if self.V is None:
            return rebuilt.new_zeros(())
        self.V.to(x.device)
        with torch.no_grad():
            wanted = self.V(x)
        return _sum(l1_loss(a, b) for a, b in zip(self.V(rebuilt), wanted, strict=True))

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam for M and for D_1..D_3, falling linearly to zero."""
        lr = self.config.pretrain_lr
        players = {"M": self.M, "D_k": self.D_k}
        return {k: image_optimizer([n], lr, decay="linear") for k, n in players.items()}


class Pretraining:
    """M learns to draw source images from their true labels (section 4.3)."""

    def __init__(self, config: Config, classes: int) -> None:
        self.config, self.classes = config, classes
        self.rebuild = Rebuilder(config, classes)
        self.game = Game(**self.rebuild.optimizers())
        self.state = {"M": self.rebuild.M, "D_k": self.rebuild.D_k, **self.game.state()}

    def step(self, batch: Batch) -> Losses:
        w = self.config
        r = self.rebuild(one_hot(batch.y_s, self.classes), batch.x_s)
        loss_M = w.alpha * r.adversarial + w.beta * r.reconstruction  # Eq. 6 without G
        return self.game.play(D_k=r.discrimination, M=loss_M)


def _sum(terms: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(terms)).sum()
