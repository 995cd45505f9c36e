"""The coarse-grained component of pivot interaction transfer: K region expansion units.

Lv et al., "Cross-Domain Semantic Segmentation via Domain-Invariant Interactive Relation Transfer",
CVPR 2020, section 4.2. Each unit turns the backbone's features into a class activation map, which a
log-mean-exp makes an answer about the whole image: a small r asks all positions, a large one the
strongest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class RegionExpansion(nn.Module):
    """Features [n, k, hs, ws] -> a map of every unit [K, n, c, hs, ws], at the features' size.

    `w` holds the weights w^k by which the maps together are to be the segmentor's own.
    """

    def __init__(self, channels: int, classes: int, units: int) -> None:
        super().__init__()
        self.units = nn.ModuleList(nn.Conv2d(channels, classes, 1) for _ in range(units))
        for parameter in self.units.parameters():
            nn.init.normal_(parameter, 0, 0.01) if parameter.ndim > 1 else nn.init.zeros_(parameter)
        self.w = nn.Parameter(torch.full((units,), 1 / units))

    def forward(self, features: Float[Tensor, "n k hs ws"]) -> list[Float[Tensor, "n c hs ws"]]:
        """One map a unit."""
        return [unit(features) for unit in self.units]

    def together(self, maps: Sequence[Float[Tensor, "n c h w"]]) -> Float[Tensor, "n c h w"]:
        """sum_k w^k S^k."""
        weighted = [w * S for w, S in zip(self.w, maps, strict=True)]
        return torch.stack(weighted).sum(0)


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
