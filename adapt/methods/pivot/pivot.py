"""Pivot interaction transfer (Lv et al., CVPR 2020): pixels learn from what is known of images.

G gives the class activation map S, the K units give S^k; y says how much of an image is of a class.

    Eq. 1   s^k(c) = log mean_ij exp(r^k S^k(i, j, c)),  y^k = sigmoid(s^k)
            d      = |sum_k w^k S^k - S|^2               the same w in both cities
            L      = L_f + lambda_c L_c + lambda_r L_r

L_f is the source's cross-entropy, L_c that of y and y^k summed over units and classes, L_r is d;
both are of source and target. The document sums over images and, in d, over pixels and classes;
here stand means of these, since a sum would grow with the image and swamp L_f. The source's y is
that of the crop which is seen; the target's is that of a whole image, so those are never cropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from adapt import bounds
from adapt.data.drawing.batches import Batch
from adapt.data.image_labels import class_shares
from adapt.game import Game, Losses
from adapt.losses import cross_entropy, mean_over_processes
from adapt.networks import Segmented, build
from adapt.networks.both_cities import pass_both
from adapt.networks.region_expansion import RegionExpansion, log_mean_exp
from adapt.networks.upsampling import full_size
from adapt.optimizers import segmentor_optimizer
from adapt.run import Run

Maps = Sequence[Float[Tensor, "n c h w"]]


@dataclass(frozen=True, kw_only=True)
class Config:
    """The authors' numbers."""

    w_c: float = 0.5
    """lambda_c, of the image-level cross-entropy; 0: without"""
    w_r: float = 0.5
    """lambda_r, of the reconstruction; 0: without"""
    w_r_source: float = 1.0
    """the source's part in the reconstruction; 0: the target's alone (Table 3)"""
    r: tuple[float, ...] = (0.5, 1.0, 1.5)
    """r^k, one for each region expansion unit"""
    divide_by_r: bool = False
    """the outer 1/r of the log-sum-exp's own paper, which the document leaves out"""
    w_aux: float = 0.1
    """of the auxiliary output's cross-entropy, as in the other methods; not the paper's"""
    target_norm: Literal["separate", "source"] = "separate"
    """which statistics the target's batch norms use in training. By the source's, whatever the
    target's features are off by L_c and L_r have its maps carry: 22.0 after 250 of 2,000 steps on
    day to dusk, where it is 27.6 with the batch's own (bench/NOTES.md)"""

    def __post_init__(self) -> None:
        bounds.at_least(0, self, "w_c", "w_r", "w_r_source", "w_aux")
        bounds.factors(self, "r")


class Pivot:
    """G segments; U, the units, learn from image-level labels what their maps share with G's."""

    def __init__(self, config: Config, run: Run, classes: int, *, presence: bool = False) -> None:
        """`presence`: image-level labels say which classes are there, not how much of each."""
        self.config, self.classes, self.presence = config, classes, presence
        self.segmentor = self.G = build(run.network, classes)
        channels = [z.shape[1] for z in self.G.probed().pre_logits]
        self.U = RegionExpansion(channels, classes, len(config.r))
        optimizer = segmentor_optimizer(self.G, run)
        heads = {k: v for k, v in optimizer.param_groups[-1].items() if k != "params"}
        optimizer.add_param_group(heads | {"params": list(self.U.parameters())})
        self.game = Game(G=optimizer)
        self.state = {"segmentor": self.G, "U": self.U, **self.game.state()}

    def step(self, batch: Batch) -> Losses:
        w, y_s = self.config, batch.y_s
        size_s, size_t = ((x.shape[2], x.shape[3]) for x in (batch.x_s, batch.x_t))
        out_s, out_t = pass_both(self.G, batch.x_s, batch.x_t, w.target_norm)
        S_s, aux_s = (full_size(z, size_s, self.G.align_corners) for z in out_s.heads)
        S_t = full_size(out_t.logits, size_t, self.G.align_corners)
        maps_s, maps_t = self.maps(out_s, size_s), self.maps(out_t, size_t)
        shares = class_shares(y_s, self.classes)
        known = (y_s != 255).flatten(1).any(1).float()
        v_s = (shares > 0).float() if self.presence else shares
        L_f = cross_entropy(S_s, y_s)
        L_c = self.image_level(maps_s, v_s, known) + self.image_level(
            maps_t, batch.v_t, torch.ones_like(batch.v_t[:, 0])
        )
        L_r = w.w_r_source * distance(self.U.together(maps_s), S_s) + distance(
            self.U.together(maps_t), S_t
        )
        loss_G = L_f + w.w_c * L_c + w.w_r * L_r + w.w_aux * cross_entropy(aux_s, y_s)
        parts = {"L_f": L_f, "L_c": L_c, "L_r": L_r}
        return self.game.play(G=loss_G) | {k: v.detach() for k, v in parts.items()}

    def maps(self, out: Segmented, size: tuple[int, int]) -> Maps:
        """Every unit's S^k at full size."""
        return [self.G.enlarged(S, size).float() for S in self.U(out.pre_logits)]

    def image_level(
        self, maps: Maps, y: Float[Tensor, "n c"], known: Float[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        """L_c of one city: the mean over its images of the sum over units and classes."""
        w = self.config
        each = torch.stack([
            binary_cross_entropy_with_logits(
                log_mean_exp(S, r, w.divide_by_r), y, reduction="none"
            ).sum(1)
            for S, r in zip(maps, w.r, strict=True)
        ]).sum(0)  # fmt: skip
        return (each * known).sum() / mean_over_processes(known.sum()).clamp(min=1)


def distance(together: Float[Tensor, "n c h w"], S: Float[Tensor, "n c h w"]) -> Float[Tensor, ""]:
    """d: the mean over images, pixels and classes of (sum_k w^k S^k - S)^2."""
    return (together - S.float()).square().mean()
