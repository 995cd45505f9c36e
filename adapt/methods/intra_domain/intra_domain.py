"""Pixel-level intra-domain adaptation, from easy to hard pixels of the target (section 4.2).

With M = 1 on hard pixels, Z their index, and D's answer at every pixel (0: easy, 1: hard):

    Eq. 5     L_seg = cross-entropy on easy pixels
    PLA, 6    L_D = -log mean_M(D) - log mean_easy(1 - D),   L_adv = -log mean_M(1 - D)
    CTS, 8    L_D = mean((D - Z)^2),                         L_adv = mean_M(D^2)
    Eq. 9     L_G = L_seg + beta L_adv
              (+ w_source times the cross-entropy on the source, which is not the document's,
              nor is mix: source classes on the target's crops, easy pixels there)

The document writes sums, of one image; here stand means, of the batch: the cross-entropy and the
squared norm would grow with the image, and beta mean something else at every size. In Eq. 6 a mean
takes a constant off the logarithm of the sum: for one image that leaves its gradients as they are.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from adapt.data.classes import IGNORE
from adapt.data.drawing.batches import Batch
from adapt.data.drawing.class_mix import class_mixed
from adapt.game import Game, Losses
from adapt.losses import DISCRIMINATOR_INPUTS, cross_entropy, masked_mean, minus_log_mean
from adapt.methods.intra_domain.separation import Separated, separated
from adapt.networks import Segmented, build
from adapt.networks.both_cities import pass_both, running_statistics
from adapt.networks.output_discriminator import HALVINGS, OutputDiscriminator
from adapt.networks.upsampling import full_size
from adapt.optimizers import discriminator_optimizer, segmentor_optimizer
from adapt.run import Run

Map = Float[Tensor, "n h w"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """beta has no published value (recipes/beta.toml sweeps it). Where none is given it is that of
    AdaptSegNet, whose discriminators these are: of its cross-entropy for PLA, of its squares for
    CTS.
    """

    adversary: Literal["cts", "pla"] = "cts"
    """continuous index (Eq. 8), or M alone (Eq. 6)"""
    beta: float | None = None
    """of the adversary on the output; 0: pseudo labels alone; None: 0.01, and 0.001 with pla"""
    beta_aux: float | None = None
    """of the adversary on the auxiliary output; None: a fifth of beta"""
    w_aux: float = 0.1
    """of the auxiliary output's cross-entropy"""
    w_source: float = 0.0
    """of the cross-entropy on the source; the document learns from the target alone"""
    mix: bool = False
    """paste half of the classes of a source image on the target's, as self_training does: G then
    has labels for what its own never show; not the document's"""
    w_kld: float = 0.1
    """of the KLD regularisation, from the second round on"""
    discriminator_input: Literal["probability", "entropy"] = "probability"
    """entropy is IntraDA's"""
    target_norm: Literal["separate", "source"] = "source"
    """whose statistics the batch norms use: those of G's start, as when deployed, or the batch's"""
    lr_d: float = 1e-4
    width_d: int = 64
    """channels of the discriminators' first layer"""
    halvings_d: int = HALVINGS
    """of D's map: 5 as AdaptSegNet's, an answer for every 32 x 32 pixels; 3 for small crops"""

    def betas(self) -> tuple[float, float]:
        """beta and beta_aux, given or not."""
        usual = 0.001 if self.adversary == "pla" else 0.01
        beta = usual if self.beta is None else self.beta
        return beta, beta / 5 if self.beta_aux is None else self.beta_aux


class IntraDomain:
    """G segments the target; D and D_aux say of every pixel of both outputs how hard it is."""

    def __init__(self, config: Config, run: Run, classes: int, *, kld: bool) -> None:
        self.config, self.classes = config, classes
        self.w_kld = config.w_kld if kld else 0.0
        self.segmentor = self.G = build(run.network, classes)
        self.D = OutputDiscriminator(classes, config.width_d, config.halvings_d)
        self.D_aux = OutputDiscriminator(classes, config.width_d, config.halvings_d)
        self.shown = DISCRIMINATOR_INPUTS[config.discriminator_input]
        self.adversary = {"cts": continuous, "pla": pixel_level}[config.adversary]
        self.game = Game(
            G=segmentor_optimizer(self.G, run),
            D=discriminator_optimizer(self.D.parameters(), config.lr_d),
            D_aux=discriminator_optimizer(self.D_aux.parameters(), config.lr_d),
        )
        networks = {"segmentor": self.G, "D": self.D, "D_aux": self.D_aux}
        self.state = {**networks, **self.game.state()}

    def step(self, batch: Batch) -> Losses:
        w = self.config
        batch = class_mixed(batch) if w.mix else batch
        out, loss_s = self._passed(batch)
        size = (batch.y_t.shape[1], batch.y_t.shape[2])
        y = separated(batch.y_t, self.classes)
        z, aux = (full_size(z, size, self.G.align_corners) for z in out.heads)
        loss_D, adv = self.adversary(self.judged(self.D, z), y)
        loss_D_aux, adv_aux = self.adversary(self.judged(self.D_aux, aux), y)
        beta, beta_aux = w.betas()
        loss_G = (
            cross_entropy(z, y.labels)  # Eq. 5
            + w.w_aux * cross_entropy(aux, y.labels)
            + beta * adv
            + beta_aux * adv_aux
            + self.w_kld * kld(z, y.labels)
            + w.w_source * loss_s
        )
        return self.game.play(D=loss_D, D_aux=loss_D_aux, G=loss_G)

    def _passed(self, batch: Batch) -> tuple[Segmented, Tensor]:
        """What G makes of the target, and its cross-entropies on the source, where it sees one."""
        w = self.config
        if not w.w_source:
            with running_statistics(self.G) if w.target_norm == "source" else nullcontext():
                return self.G(batch.x_t), torch.zeros((), device=batch.x_t.device)
        out_s, out = pass_both(self.G, batch.x_s, batch.x_t, w.target_norm)
        size = (batch.y_s.shape[1], batch.y_s.shape[2])
        z, aux = (full_size(z, size, self.G.align_corners) for z in out_s.heads)
        return out, cross_entropy(z, batch.y_s) + w.w_aux * cross_entropy(aux, batch.y_s)

    def judged(self, D: OutputDiscriminator, z: Float[Tensor, "n c h w"]) -> Map:
        """D's answer in 0..1 at every pixel: its map, enlarged as the document does."""
        size = (z.shape[2], z.shape[3])
        d = D(self.shown(z.softmax(1))).float()  # 1 - D is not to be rounded to bfloat16
        return full_size(d, size, align_corners=False).sigmoid()[:, 0]


def pixel_level(d: Map, y: Separated) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Eq. 6: D's loss, and the adversary's for G; 0 for a side that the batch has no pixel of."""
    easy = y.inside & ~y.M
    loss_D = minus_log_mean(d, y.M) + minus_log_mean(1 - d, easy)
    return loss_D, minus_log_mean(1 - d, y.M)


def continuous(d: Map, y: Separated) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Eq. 8: D's loss, and the adversary's for G; 0 where the batch has no hard pixel."""
    return masked_mean((d - y.Z).square(), y.inside), masked_mean(d.square(), y.M)


def kld(z: Float[Tensor, "n c h w"], labels: UInt8[Tensor, "n h w"]) -> Float[Tensor, ""]:
    """Mean over labelled pixels of -(1/C) sum log p: no pixel is to be too sure of its label.

    Zou et al., "Confidence Regularized Self-Training", ICCV 2019 (MRKLD), less its constant.
    """
    return masked_mean(-z.float().log_softmax(1).mean(1), labels != IGNORE)
