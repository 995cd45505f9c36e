"""The coarse-grained component of pivot interaction transfer: K region expansion units.

Lv et al., "Cross-Domain Semantic Segmentation via Domain-Invariant Interactive Relation Transfer",
CVPR 2020, section 4.2. Each unit turns the features into a class activation map, which a
log-mean-exp makes an answer about the whole image: a small r asks all positions, a large one the
strongest. The document's segmentor and units are one convolution each of one map, F_m, so that the
units can draw the segmentor's own map, whatever the image. Here F_m is what the last layer of the
segmentor's head reads: of anything before it, what the units cannot draw L_r would have the
backbone unlearn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from adapt.networks.upsampling import full_size


class RegionExpansion(nn.Module):
    """What a head's last layer reads, each [n, k, hs, ws] -> every unit's map, as the largest.

    A map is [n, c, h, w], the sum of one 1x1 convolution of each; `channels` are theirs. `w` holds
    the weights w^k by which the maps together are to be the segmentor's own.
    """

    def __init__(self, channels: Sequence[int], classes: int, units: int) -> None:
        super().__init__()
        self.units = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(k, classes, 1, bias=not i) for i, k in enumerate(channels))
            for _ in range(units)
        )
        for parameter in self.units.parameters():
            nn.init.normal_(parameter, 0, 0.01) if parameter.ndim > 1 else nn.init.zeros_(parameter)
        self.w = nn.Parameter(torch.full((units,), 1 / units))

    def forward(self, read: Sequence[Float[Tensor, "n _ _ _"]]) -> list[Float[Tensor, "n c h w"]]:
        """One map a unit."""
        largest = max((z.shape[2], z.shape[3]) for z in read)
        return [
            torch.stack(
                [_as_large(conv(z), largest) for conv, z in zip(unit, read, strict=True)]
            ).sum(0)
            for unit in cast("list[nn.ModuleList]", list(self.units))
        ]

    def together(self, maps: Sequence[Float[Tensor, "n c h w"]]) -> Float[Tensor, "n c h w"]:
        """sum_k w^k S^k."""
        weighted = [w * S for w, S in zip(self.w, maps, strict=True)]
        return torch.stack(weighted).sum(0)


def _as_large(z: Float[Tensor, "n c hs ws"], size: tuple[int, int]) -> Float[Tensor, "n c h w"]:
    if (z.shape[2], z.shape[3]) == size:
        return z
    return full_size(z, size, align_corners=False)


def log_mean_exp(
    S: Float[Tensor, "n c h w"],  # noqa: N803 - the paper's letter
    r: float,
    divided: bool = False,
) -> Float[Tensor, "n c"]:
    """Eq. 1: log of the mean over positions of exp(r S), without overflow.

    `divided`: by r, as Pinheiro and Collobert (CVPR 2015) have it, and the document has not.
    """
    positions = math.log(S.shape[2] * S.shape[3])
    s = (r * S.float()).flatten(2).logsumexp(2) - positions
    return s / r if divided else s
