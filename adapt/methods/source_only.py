"""Source only: train on the labelled city and hope; what every method must beat.

With the target's own labelled images as the source it is the oracle.
"""

from __future__ import annotations

from dataclasses import dataclass

from adapt.data.drawing.batches import Batch
from adapt.game import Game, Losses
from adapt.losses import cross_entropy
from adapt.networks import build
from adapt.networks.upsampling import full_size
from adapt.optimizers import segmentor_optimizer
from adapt.run import Run


@dataclass(frozen=True, kw_only=True)
class Config:
    """The weight between the segmentor's two outputs."""

    w_aux: float = 0.1
    """of the auxiliary output's cross-entropy"""


class SourceOnly:
    """G segments the source; the target is never looked at."""

    def __init__(self, config: Config, run: Run, classes: int) -> None:
        self.config = config
        self.segmentor = self.G = build(run.network, classes)
        self.game = Game(G=segmentor_optimizer(self.G, run))
        self.state = {"segmentor": self.G, **self.game.state()}

    def step(self, batch: Batch) -> Losses:
        x_s, y_s = batch.x_s, batch.y_s
        size = (y_s.shape[1], y_s.shape[2])
        z_s, aux_s = (full_size(z, size, self.G.align_corners) for z in self.G(x_s).heads)
        loss_G = cross_entropy(z_s, y_s) + self.config.w_aux * cross_entropy(aux_s, y_s)
        return self.game.play(G=loss_G)
