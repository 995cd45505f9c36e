"""Learning from synthetic data: images drawn from features (Sankaranarayanan et al., CVPR 2018).

F is the segmentor (embedding and classifier), G draws the image again from its embedding, D says
of every patch which of four origins it has, and of which class it is. One iteration, section 3.3:

    D:  L_adv,D^s + L_adv,D^t + L_aux^s
    G:  L_adv,G^s + L_adv,G^t + L_rec^s + L_rec^t
    F:  L_seg + alpha L_aux^s + beta (L_adv,F^s + L_adv,F^t)

All losses here are means. The authors' code sums all but L_rec over the pixels, and multiplies by
0.1: as means, alpha and beta are then 0.1 * 3,200 patches / 204,800 pixels = 0.0016, and L_rec,
which they call crucial, would hardly be felt beside the sums; hence w_rec. D learns classes on real
source images, as in their code, and is asked about redrawn ones; in the document (3.2) it labels
the redrawn image.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn.functional import cross_entropy as torch_cross_entropy
from torch.nn.functional import interpolate, l1_loss

from adapt import bounds
from adapt.data.drawing.batches import Batch
from adapt.game import Game, Losses
from adapt.losses import SOURCE, TARGET, cross_entropy, cross_entropy_to
from adapt.networks import Segmented, build
from adapt.networks.both_cities import pass_both
from adapt.networks.feature_generator import FeatureGenerator, levels_of
from adapt.networks.four_way_discriminator import FourWayDiscriminator
from adapt.networks.image_generator import init_convolution
from adapt.networks.upsampling import full_size
from adapt.optimizers import image_optimizer, segmentor_optimizer
from adapt.run import Run
from roadshift import UserError


class Origin(IntEnum):
    """D's four answers."""

    SOURCE_REAL, SOURCE_FAKE, TARGET_REAL, TARGET_FAKE = range(4)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Weights between the losses as means, see above."""

    alpha: float = 0.0016
    """of D's class cross-entropy on redrawn source images, for F"""
    auxiliary: bool = True
    """False: D has one branch, and says nothing of classes (Table 4)"""
    beta: float = 0.0016
    """of the cross-domain adversary, for F"""
    w_rec: float = 10.0
    """of L1 between images and their redrawings, for G"""
    w_aux: float = 0.1
    """of the auxiliary output's cross-entropy, as in the other methods; not the paper's"""
    lr_images: float = 2e-4
    """of G and D"""
    width: int = 64
    """channels of the first layer of D, and of the last of G"""
    dropout: float = 0.5
    """of G, in place of noise"""
    patches: bool = True
    """False: D judges whole images (Table 4)"""
    space: Literal["image", "feature"] = "image"
    """feature: no G, the adversary is on the embedding itself (Table 4)"""
    target_norm: Literal["joint", "separate", "source"] = "source"
    """which statistics the target's batch norms use in training"""

    def __post_init__(self) -> None:
        bounds.at_least(0, self, "alpha", "beta", "w_rec", "w_aux")
        bounds.at_least(1, self, "width")
        if not 0 <= self.dropout < 1:
            raise UserError(f"--dropout is {self.dropout}; wanted 0 or more, below 1")


class FeatureToImage:
    """F segments, G redraws the image from F's embedding, D names the origin."""

    def __init__(self, config: Config, run: Run, classes: int) -> None:
        self.config = config
        self.segmentor = self.F = build(run.network, classes)
        self.G = FeatureGenerator(*levels_of(self.F), config.width, config.dropout)
        self.D = FourWayDiscriminator(classes, config.width, patches=config.patches)
        self.game = Game(
            F=segmentor_optimizer(self.F, run),
            G=image_optimizer([self.G], config.lr_images, decay="polynomial"),
            D=image_optimizer([self.D], config.lr_images, decay="polynomial"),
        )
        self.state = {"segmentor": self.F, "G": self.G, "D": self.D, **self.game.state()}

    def step(self, batch: Batch) -> Losses:
        w, x_s, x_t, y_s = self.config, batch.x_s, batch.x_t, batch.y_s
        size = (x_s.shape[2], x_s.shape[3])
        z_s, z_t = pass_both(self.F, x_s, x_t, w.target_norm)
        r_s, r_t = (self.G(_detached(z), size) for z in (z_s, z_t))
        # 1. D names the origin of every patch, and the class of the source's.
        (d_xs, c_xs), (d_xt, _) = self.D(x_s), self.D(x_t)
        (d_rs, _), (d_rt, _) = self.D(r_s.detach()), self.D(r_t.detach())
        loss_D = (
            says(d_xs, Origin.SOURCE_REAL)
            + says(d_rs, Origin.SOURCE_FAKE)
            + says(d_xt, Origin.TARGET_REAL)
            + says(d_rt, Origin.TARGET_FAKE)
            + w.auxiliary * cross_entropy(c_xs, shrunk(y_s, c_xs))
        )
        moved = self.game.play(D=loss_D)
        # 2. G redraws faithfully, and passes for real in the same city.
        (d_rs, _), (d_rt, _) = self.D(r_s), self.D(r_t)
        loss_G = (
            says(d_rs, Origin.SOURCE_REAL)
            + says(d_rt, Origin.TARGET_REAL)
            + w.w_rec * (l1_loss(r_s, x_s) + l1_loss(r_t, x_t))
        )
        moved |= self.game.play(G=loss_G)
        # 3. F segments the source, and its redrawings pass for the other city.
        (d_rs, c_rs), (d_rt, _) = self.D(self.G(z_s, size)), self.D(self.G(z_t, size))
        loss_F = (
            supervised(z_s, y_s, self.F.align_corners, w.w_aux)
            + w.auxiliary * w.alpha * cross_entropy(c_rs, shrunk(y_s, c_rs))
            + w.beta * (says(d_rs, Origin.TARGET_REAL) + says(d_rt, Origin.SOURCE_REAL))
        )
        return moved | self.game.play(F=loss_F)


class FeatureAdversary:
    """Table 4's "feature space based D": no images, D tells the cities' embeddings apart."""

    def __init__(self, config: Config, run: Run, classes: int) -> None:
        self.config = config
        self.segmentor = self.F = build(run.network, classes)
        features, _ = levels_of(self.F)
        self.D = nn.Sequential(
            nn.Conv2d(features.channels, 4 * config.width, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(4 * config.width, 4 * config.width, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(4 * config.width, 1, 1),
        ).apply(init_convolution)
        self.game = Game(
            F=segmentor_optimizer(self.F, run),
            D=image_optimizer([self.D], config.lr_images, decay="polynomial"),
        )
        self.state = {"segmentor": self.F, "D": self.D, **self.game.state()}

    def step(self, batch: Batch) -> Losses:
        w = self.config
        z_s, z_t = pass_both(self.F, batch.x_s, batch.x_t, w.target_norm)
        d_s, d_t = self.D(z_s.features), self.D(z_t.features)
        loss_D = (cross_entropy_to(d_s, SOURCE) + cross_entropy_to(d_t, TARGET)) / 2
        loss_F = supervised(
            z_s, batch.y_s, self.F.align_corners, w.w_aux
        ) + w.beta * cross_entropy_to(d_t, SOURCE)
        return self.game.play(D=loss_D, F=loss_F)


def says(origin: Float[Tensor, "n 4 hd wd"], answer: Origin) -> Float[Tensor, ""]:
    """Mean cross-entropy of D's logits to one answer for all patches."""
    n, _, h, w = origin.shape
    y = torch.full((n, h, w), int(answer), device=origin.device)
    return torch_cross_entropy(origin.float(), y)


def supervised(
    out: Segmented, y: UInt8[Tensor, "n h w"], align_corners: bool, w_aux: float
) -> Float[Tensor, ""]:
    """L_seg, and `w_aux` of the auxiliary output's."""
    z, aux = (full_size(z, (y.shape[1], y.shape[2]), align_corners) for z in out.heads)
    return cross_entropy(z, y) + w_aux * cross_entropy(aux, y)


def shrunk(y: UInt8[Tensor, "n h w"], like: Float[Tensor, "n c hd wd"]) -> UInt8[Tensor, "n hd wd"]:
    """Labels at the size of D's map: each patch's, at its centre."""
    size = (like.shape[2], like.shape[3])
    return interpolate(y[:, None].float(), size=size, mode="nearest-exact")[:, 0].to(torch.uint8)


def _detached(seen: Segmented) -> Segmented:
    """For G's own game: F is not asked."""
    return seen._replace(
        features=seen.features.detach(), skips=tuple(z.detach() for z in seen.skips)
    )
