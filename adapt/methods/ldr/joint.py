"""Label-driven reconstruction, the joint training (Yang et al., ECCV 2020, Eq. 1, 2 and 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from adapt.data.drawing.batches import Batch
from adapt.data.drawing.class_mix import class_mixed
from adapt.data.drawing.colours import Recolour
from adapt.game import Game, Losses
from adapt.losses import SOURCE, TARGET, cross_entropy, cross_entropy_to
from adapt.methods.ldr import reconstruction
from adapt.methods.ldr.reconstruction import Rebuilder, near_one_hot
from adapt.networks import build
from adapt.networks.both_cities import pass_both
from adapt.networks.output_discriminator import OutputDiscriminator
from adapt.networks.upsampling import full_size
from adapt.optimizers import discriminator_optimizer, segmentor_optimizer
from adapt.run import Run


@dataclass(frozen=True, kw_only=True)
class Config(reconstruction.Config):
    """The authors' numbers for ResNet-101; for VGG-16: w_adv 1e-4."""

    w_aux: float = 0.1
    """of the auxiliary output's cross-entropy, as in the other methods; not the paper's"""
    w_adv: float = 0.001
    """lambda, of the adversary on the segmentor's output (Eq. 1)"""
    tau: float = 0.1
    """temperature of the label map (Eq. 3); the authors' 0.001 moves less than 1 % of the pixels"""
    space: Literal["label", "feature"] = "label"
    """what M rebuilds from: the label map, or the logits themselves (Table 5)"""
    mix: bool = False
    """paste half of the classes of a source image on the target's, where they have pseudo labels,
    as self_training does; not the paper's"""
    target_norm: Literal["joint", "separate", "source"] = "joint"
    """which statistics the target's batch norms in G use in training"""
    lr_d: float = 1e-4
    """of the output discriminator"""


class Segmentation:
    """Eq. 1 and 2: G segments both cities, D tells their outputs apart; no reconstruction."""

    def __init__(self, config: Config, run: Run, classes: int) -> None:
        self.config = config
        self.G = build(run.network, classes)
        self.D = OutputDiscriminator(classes, config.width)
        self.recolour = Recolour(run.colour_jitter, run.blur)
        self.game = Game(**self.optimizers(run))
        self.state = {"segmentor": self.G, "D": self.D, **self.game.state()}

    def step(self, batch: Batch) -> Losses:
        _, loss_D, loss_G = self.losses(class_mixed(batch) if self.config.mix else batch)
        return self.game.play(D=loss_D, G=loss_G)

    def losses(self, batch: Batch) -> tuple[Float[Tensor, "n c h w"], Tensor, Tensor]:
        """One pass of G over both cities: logits at full size, D's loss, Eq. 1."""
        w, y_s, y_t = self.config, batch.y_s, batch.y_t
        x_s, x_t = self.recolour(batch.x_s), self.recolour(batch.x_t)
        (z_s, aux_s), (z_t, aux_t) = (
            [full_size(z, (y_s.shape[1], y_s.shape[2]), self.G.align_corners) for z in out.heads]
            for out in pass_both(self.G, x_s, x_t, w.target_norm)
        )
        # Apart, so that the loss of G goes back through D on the target alone.
        d_s, d_t = self.D(z_s.softmax(1)), self.D(z_t.softmax(1))
        loss_D = (cross_entropy_to(d_s, SOURCE) + cross_entropy_to(d_t, TARGET)) / 2  # Eq. 2
        loss_G = (
            cross_entropy(z_s, y_s)
            + cross_entropy(z_t, y_t)  # 0 in the first round, which has no pseudo labels
            + w.w_adv * cross_entropy_to(d_t, SOURCE)
            + w.w_aux * (cross_entropy(aux_s, y_s) + cross_entropy(aux_t, y_t))
        )
        return torch.cat([z_s, z_t]), loss_D, loss_G

    def optimizers(self, run: Run) -> dict[str, torch.optim.Optimizer]:
        """G's by its network's recipe, D's by AdaptSegNet's."""
        return {
            "G": segmentor_optimizer(self.G, run),
            "D": discriminator_optimizer(self.D.parameters(), self.config.lr_d),
        }


class Joint:
    """Eq. 6: segmentation, and reconstruction from what was predicted, in both cities."""

    def __init__(self, config: Config, run: Run, classes: int) -> None:
        self.config = config
        self.segmentation = Segmentation(config, run, classes)
        self.rebuild = Rebuilder(config, classes)
        self.G, self.M = self.segmentation.G, self.rebuild.M
        self.game = Game(**self.segmentation.optimizers(run), **self.rebuild.optimizers())
        networks = {"segmentor": self.G, "D": self.segmentation.D}
        networks |= {"M": self.M, "D_k": self.rebuild.D_k}
        self.state = {**networks, **self.game.state()}

    def step(self, batch: Batch) -> Losses:
        w = self.config
        batch = class_mixed(batch) if w.mix else batch
        z, loss_D, loss_G = self.segmentation.losses(batch)
        omega = near_one_hot(z, w.tau) if w.space == "label" else z.float()
        r = self.rebuild(omega, torch.cat([batch.x_s, batch.x_t]))
        # Eq. 6 has the sum over both cities, the rebuilder's means are over the images of both.
        loss = loss_G + 2 * (w.alpha * r.adversarial + w.beta * r.reconstruction)
        return self.game.play(D=loss_D, D_k=r.discrimination, G=loss, M=loss)
