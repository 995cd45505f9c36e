"""Output-space adversary (Tsai et al., CVPR 2018) and its entropy form (Vu et al., CVPR 2019).

A discriminator D tells the segmentor's source outputs from its target outputs; the segmentor G is
trained on the source labels and to have its target outputs taken for source ones. With two levels
a second pair does the same for the auxiliary output. The entropy input is ADVENT's AdvEnt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from adapt.data.drawing.batches import Batch
from adapt.game import Game, Losses
from adapt.losses import (
    ADVERSARIAL_LOSSES,
    DISCRIMINATOR_INPUTS,
    SOURCE,
    TARGET,
    cross_entropy,
)
from adapt.networks import Segmented, build
from adapt.networks.both_cities import TargetNorm, pass_both
from adapt.networks.output_discriminator import OutputDiscriminator
from adapt.networks.upsampling import full_size
from adapt.optimizers import discriminator_optimizer, segmentor_optimizer
from adapt.run import Run


@dataclass(frozen=True, kw_only=True)
class Config:
    """The authors' numbers for two levels; single level: w_aux 0, w_adv_aux 0."""

    w_adv: float = 0.001
    """of the adversarial loss on the output (0.01 with least squares, single level)"""
    w_adv_aux: float = 0.0002
    """of the adversarial loss on the auxiliary output"""
    w_aux: float = 0.1
    """of the auxiliary output's cross-entropy"""
    discriminator_input: Literal["probability", "entropy"] = "probability"
    """AdaptSegNet's or ADVENT's"""
    adversarial_loss: Literal["vanilla", "least_squares"] = "vanilla"
    lr_d: float = 1e-4
    target_norm: TargetNorm = "source"
    """which statistics the target's batch norms use in training; camvid -> cityscapes_small, one
    seed: source 43.8, joint 39.7 (bench/results/camvid_cityscapes.md)"""
    width_d: int = 64
    """channels of the discriminator's first layer"""


class OutputAdversary:
    """G segments both cities, D and D_aux say which city an output came from."""

    def __init__(self, config: Config, run: Run, classes: int) -> None:
        self.config = config
        self.segmentor = self.G = build(run.network, classes)
        self.D = OutputDiscriminator(classes, config.width_d)
        self.D_aux = OutputDiscriminator(classes, config.width_d)
        self.says = ADVERSARIAL_LOSSES[config.adversarial_loss]
        self.shown = DISCRIMINATOR_INPUTS[config.discriminator_input]
        self.game = Game(
            G=segmentor_optimizer(self.G, run),
            D=discriminator_optimizer(self.D.parameters(), config.lr_d),
            D_aux=discriminator_optimizer(self.D_aux.parameters(), config.lr_d),
        )
        networks = {"segmentor": self.G, "D": self.D, "D_aux": self.D_aux}
        self.state = {**networks, **self.game.state()}

    def step(self, batch: Batch) -> Losses:
        w, says, y_s = self.config, self.says, batch.y_s
        both = pass_both(self.G, batch.x_s, batch.x_t, w.target_norm)
        (z_s, a_s), (z_t, a_t) = (self._levels(out, y_s) for out in both)
        d_s, d_t = self._judged(self.D, z_s, z_t)
        e_s, e_t = self._judged(self.D_aux, a_s, a_t)
        # Each discriminator tells the cities apart (AdaptSegNet Eq. 2).
        loss_D = (says(d_s, SOURCE) + says(d_t, TARGET)) / 2
        loss_D_aux = (says(e_s, SOURCE) + says(e_t, TARGET)) / 2
        # G segments the source, and its target outputs pass for the source's (Eq. 3, 4, 6).
        loss_G = (
            cross_entropy(z_s, y_s)
            + w.w_aux * cross_entropy(a_s, y_s)
            + w.w_adv * says(d_t, SOURCE)
            + w.w_adv_aux * says(e_t, SOURCE)
        )
        return self.game.play(D=loss_D, D_aux=loss_D_aux, G=loss_G)

    def _levels(self, out: Segmented, y: Tensor) -> list[Tensor]:
        """Both levels' logits at full size."""
        return [full_size(z, (y.shape[1], y.shape[2]), self.G.align_corners) for z in out.heads]

    def _judged(self, D: OutputDiscriminator, z_s: Tensor, z_t: Tensor) -> tuple[Tensor, Tensor]:
        """What D makes of the softmax of both; apart, so that G's loss goes back through one."""
        return D(self.shown(z_s.softmax(1))), D(self.shown(z_t.softmax(1)))
