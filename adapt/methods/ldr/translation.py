"""Unpaired image translation: CycleGAN (Zhu et al., ICCV 2017), as label-driven reconstruction
uses it (Yang et al., ECCV 2020, section 3.2).

F draws target images as source images, F_inv the other way round; a discriminator on each side
tells drawn from real ones. What went there and back must be as before (the inverse is what keeps F
from drawing one image for all), and an image of the right city must stay as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from adapt.data.drawing.batches import Batch
from adapt.game import Game, Losses
from adapt.losses import least_squares_to
from adapt.networks.image_generator import Translator
from adapt.networks.patch_discriminator import PatchDiscriminator
from adapt.optimizers import image_optimizer

DRAWN, REAL = 0.0, 1.0


@dataclass(frozen=True, kw_only=True)
class Generators:
    """How large all networks of the method are that draw, and those that judge drawings."""

    width: int = 64
    """channels of the first layer of every generator and discriminator"""
    blocks: int = 9
    """residual blocks of every generator"""


@dataclass(frozen=True, kw_only=True)
class Config(Generators):
    """Yang et al.'s numbers; those of the losses and the history are CycleGAN's and BDL's."""

    translate_steps: int = 1_000_000
    translate_batch: int = 1
    translate_crop: str = ""
    """HxW that F and F_inv are trained on (BDL: 452x452 of 512x1024); "" for the run's crop"""
    translate_lr: float = 1e-4
    """halved after every tenth of the steps, as the authors do every 100,000 of a million"""
    translate_weight_decay: float = 1e-4
    w_cycle: float = 20.0
    """of the L1 distance of images in 0..1: theirs is 10, of images in -1..1"""
    w_identity: float = 10.0
    """likewise: 5"""
    history: int = 50
    """drawn images that are kept to be shown to the discriminators once more; 0 for none"""


class Translation:
    """F and F_inv draw; D_t judges what F draws, D_s what F_inv does."""

    def __init__(self, config: Config, crop: tuple[int, int]) -> None:
        """`crop` is the (height, width) of the training images."""
        self.config = w = config
        self.F, self.F_inv = (Translator(w.width, w.blocks) for _ in range(2))
        self.D_t, self.D_s = (PatchDiscriminator(3, w.width) for _ in range(2))
        self.seen_ts, self.seen_st = (History(w.history, crop) for _ in range(2))
        self.game = Game(
            D=self._optimizer(self.D_t, self.D_s), F=self._optimizer(self.F, self.F_inv)
        )
        networks = {"F": self.F, "F_inv": self.F_inv, "D_t": self.D_t, "D_s": self.D_s}
        histories = {"seen_ts": self.seen_ts, "seen_st": self.seen_st}
        self.state = {**networks, **histories, **self.game.state()}

    def step(self, batch: Batch) -> Losses:
        w, x_s, x_t = self.config, batch.x_s, batch.x_t
        x_ts, x_s_same = self.F(torch.cat([x_t, x_s])).split([len(x_t), len(x_s)])
        x_st, x_t_same = self.F_inv(torch.cat([x_s, x_t])).split([len(x_s), len(x_t)])
        x_s_again, x_t_again = self.F(x_st), self.F_inv(x_ts)
        real_s, seen_ts, new_ts = self._judged(self.D_t, x_s, self.seen_ts.swap(x_ts), x_ts)
        real_t, seen_st, new_st = self._judged(self.D_s, x_t, self.seen_st.swap(x_st), x_st)
        # The discriminators tell real images of a city from drawn ones, also from earlier ones.
        loss_D = (
            least_squares_to(real_s, REAL)
            + least_squares_to(seen_ts, DRAWN)
            + least_squares_to(real_t, REAL)
            + least_squares_to(seen_st, DRAWN)
        ) / 2
        # What is drawn passes for real, comes back as it was, and is left alone where it is right.
        loss_F = (
            least_squares_to(new_ts, REAL)
            + least_squares_to(new_st, REAL)
            + w.w_cycle * (l1_loss(x_s_again, x_s) + l1_loss(x_t_again, x_t))
            + w.w_identity * (l1_loss(x_s_same, x_s) + l1_loss(x_t_same, x_t))
        )
        return self.game.play(D=loss_D, F=loss_F)

    def _judged(
        self, D: nn.Module, real: Tensor, seen: Tensor, new: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What D makes of real images, of drawn ones from the history, and of those just drawn."""
        real, seen, new = D(torch.cat([real, seen, new])).logits.split([len(real), *[len(new)] * 2])
        return real, seen, new

    def _optimizer(self, *networks: nn.Module) -> torch.optim.Optimizer:
        return image_optimizer(
            networks,
            self.config.translate_lr,
            decay="halved_ten_times",
            weight_decay=self.config.translate_weight_decay,
        )


class History(nn.Module):
    """The last images that were drawn (Shrivastava et al., CVPR 2017): buffers, so saved too."""

    images: Tensor
    filled: Tensor

    def __init__(self, size: int, crop: tuple[int, int]) -> None:
        super().__init__()
        self.register_buffer("images", torch.zeros(size, 3, *crop))
        self.register_buffer("filled", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def swap(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
        """Images to show instead of `x`: for each, evens, itself or an earlier one it replaces.

        Until the history is full every image is shown and kept.
        """
        size, n = len(self.images), len(x)
        if size == 0:
            return x.detach()
        x = x.detach().to(self.images.dtype)
        place = self.filled + torch.arange(n, device=x.device)
        full = place >= size
        slot = torch.where(full, torch.randint(size, (n,), device=x.device), place)
        earlier = full & (torch.rand(n, device=x.device) < 0.5)
        shown = torch.where(earlier[:, None, None, None], self.images[slot], x)
        kept = (earlier | ~full)[:, None, None, None]
        self.images[slot] = torch.where(kept, x, self.images[slot])
        self.filled.add_(n).clamp_(max=size)
        return shown
