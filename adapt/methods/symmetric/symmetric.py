"""Symmetric adaptation consistency: two segmentors, adversaries in opposite directions.

Both segmentors learn from S', the source in the target's colours, with the source's labels. The
document is a set of slides: the losses are written out here as they are drawn there, their weights
are AdaptSegNet's.

    A:  CE(A(x_s'), y_s) + w_adv * says(D_A(A(x_t)), SOURCE)     its target passes for source
    B:  CE(B(x_s'), y_s) + w_adv * says(D_B(B(x_s')), TARGET)    its source passes for target

From the second round on also the cross-entropy of both on the target's pseudo labels, which are
the pixels where M_total = (M_prob + M_consist) / 2 passes its class's threshold (with mix, which is
not the document's, source classes with their labels are pasted on these crops).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from adapt.data.drawing.batches import Batch
from adapt.data.drawing.class_mix import class_mixed
from adapt.game import Game, Losses
from adapt.losses import SOURCE, TARGET, cross_entropy, cross_entropy_to
from adapt.networks import Segmented, build
from adapt.networks.both_cities import pass_both
from adapt.networks.output_discriminator import OutputDiscriminator
from adapt.networks.upsampling import full_size
from adapt.optimizers import discriminator_optimizer, segmentor_optimizer
from adapt.run import Run


@dataclass(frozen=True, kw_only=True)
class Config:
    """The weights are AdaptSegNet's, for ResNet-101."""

    w_aux: float = 0.1
    """of the auxiliary output's cross-entropy"""
    w_adv: float = 0.001
    """of both adversaries"""
    mix: bool = False
    """paste half of the classes of a source image on the target's crops, where they have pseudo
    labels, as self_training does; the adversaries see them so"""
    lr_d: float = 1e-4
    target_norm: Literal["joint", "separate", "source"] = "source"
    """which statistics the target's batch norms use in training"""
    width_d: int = 64
    """channels of the first layer of the output discriminators"""


class Symmetric:
    """A and B segment; D_A and D_B each tell one segmentor's cities apart."""

    def __init__(self, config: Config, run: Run, classes: int) -> None:
        self.config = config
        self.A, self.B = (build(run.network, classes) for _ in range(2))
        self.D_A, self.D_B = (OutputDiscriminator(classes, config.width_d) for _ in range(2))
        self.game = Game(
            A=segmentor_optimizer(self.A, run),
            B=segmentor_optimizer(self.B, run),
            D_A=discriminator_optimizer(self.D_A.parameters(), config.lr_d),
            D_B=discriminator_optimizer(self.D_B.parameters(), config.lr_d),
        )
        networks = {"segmentor_A": self.A, "segmentor_B": self.B, "D_A": self.D_A, "D_B": self.D_B}
        self.state = {**networks, **self.game.state()}

    def step(self, batch: Batch) -> Losses:
        w = self.config
        batch = class_mixed(batch) if w.mix else batch
        y_s, y_t = batch.y_s, batch.y_t
        a_s, a_t = pass_both(self.A, batch.x_s, batch.x_t, w.target_norm)
        b_s, b_t = pass_both(self.B, batch.x_s, batch.x_t, w.target_norm)
        d_as, d_at, d_bs, d_bt = (
            D(self._large(out.logits, y_s).softmax(1))
            for D, out in ((self.D_A, a_s), (self.D_A, a_t), (self.D_B, b_s), (self.D_B, b_t))
        )
        # Each discriminator tells the cities of its segmentor apart.
        loss_D_A = (cross_entropy_to(d_as, SOURCE) + cross_entropy_to(d_at, TARGET)) / 2
        loss_D_B = (cross_entropy_to(d_bs, SOURCE) + cross_entropy_to(d_bt, TARGET)) / 2
        # A's target passes for source, B's source for target; labels of both cities teach both.
        loss_A = (
            self._supervised(a_s, y_s)
            + self._supervised(a_t, y_t)  # 0 in the first round, which has no pseudo labels
            + w.w_adv * cross_entropy_to(d_at, SOURCE)
        )
        loss_B = (
            self._supervised(b_s, y_s)
            + self._supervised(b_t, y_t)
            + w.w_adv * cross_entropy_to(d_bs, TARGET)
        )
        return self.game.play(A=loss_A, B=loss_B, D_A=loss_D_A, D_B=loss_D_B)

    def _supervised(self, out: Segmented, y: Tensor) -> Tensor:
        z, aux = (self._large(z, y) for z in out.heads)
        return cross_entropy(z, y) + self.config.w_aux * cross_entropy(aux, y)

    def _large(self, z: Tensor, y: Tensor) -> Tensor:
        return full_size(z, (y.shape[1], y.shape[2]), self.A.align_corners)
