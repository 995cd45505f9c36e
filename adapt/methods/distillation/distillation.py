"""Distillation (Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015).

A student learns the soft outputs of a frozen teacher on the unlabelled target images, so that a
vehicle runs the student alone: no translator, no large network. The teacher sees a crop in its own
colours, the student the same crop in changed ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from adapt import bounds
from adapt.data.drawing.batches import Batch
from adapt.data.drawing.colours import Recolour
from adapt.game import Game, Losses
from adapt.networks import Segmentor, build
from adapt.networks.upsampling import full_size
from adapt.optimizers import segmentor_optimizer
from adapt.run import Run


@dataclass(frozen=True, kw_only=True)
class Config:
    """How soft the teacher's outputs are, and the weight of the student's second output."""

    temperature: float = 1.0
    """T: divides both outputs; a larger one tells more of what the teacher thinks unlikely"""
    w_aux: float = 0.1
    """of the auxiliary output's loss"""

    def __post_init__(self) -> None:
        bounds.above_zero(self, "temperature")
        bounds.at_least(0, self, "w_aux")


class Distillation:
    """The student is trained, its colours changed by the run's colour_jitter and blur.

    The images of the batch are expected in their own colours. The teacher, a segmentor of the same
    classes, is no part of the state and is where its owner put it: on the student's device.
    """

    def __init__(self, config: Config, run: Run, classes: int, teacher: Segmentor) -> None:
        self.config = config
        self.teacher = teacher.eval().requires_grad_(False)
        self.segmentor = self.student = build(run.network, classes)
        self.recolour = Recolour(run.colour_jitter, run.blur)
        self.game = Game(S=segmentor_optimizer(self.student, run))
        self.state = {"segmentor": self.student, **self.game.state()}

    def step(self, batch: Batch) -> Losses:
        T, x_t = self.config.temperature, batch.x_t
        size = (x_t.shape[2], x_t.shape[3])
        with torch.no_grad():
            v = full_size(self.teacher(x_t).logits, size, self.teacher.align_corners)
        z, aux = (
            full_size(logits, size, self.student.align_corners)
            for logits in self.student(self.recolour(x_t)).heads
        )
        loss_S = soft_cross_entropy(z, v, T) + self.config.w_aux * soft_cross_entropy(aux, v, T)
        return self.game.play(S=loss_S)


def soft_cross_entropy(
    z: Float[Tensor, "n c h w"], v: Float[Tensor, "n c h w"], T: float
) -> Float[Tensor, ""]:
    """T² · mean over the pixels of -Σ p log q, with p = softmax(v / T) and q = softmax(z / T).

    The factor keeps the gradients' size whatever T is (section 2).
    """
    p = (v.float() / T).softmax(1)
    return T**2 * cross_entropy(z.float() / T, p)
