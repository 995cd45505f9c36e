"""StarGAN's discriminator: is a patch real, and which domain is the image of?

Choi et al., "StarGAN", CVPR 2018. There the domain head is a convolution as large as the whole map,
which ties it to one image size; here it is a mean over the map.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

DOWNS = 4
"""halvings: with the head, a patch of 78 x 78 pixels a score"""


class Origin(NamedTuple):
    """Real or drawn, by patch; and the domain's logits, by image."""

    real: Float[Tensor, "n 1 hd wd"]
    domain: Float[Tensor, "n d"]


class StarDiscriminator(nn.Module):
    """[n, 3, h, w] -> `Origin`; no norms, as in the paper."""

    def __init__(self, domains: int = 2, width: int = 64) -> None:
        super().__init__()
        widths = [3, *(width << i for i in range(DOWNS))]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 4, 2, 1), nn.LeakyReLU(0.01)]
        self.layers = nn.Sequential(*layers)
        self.real = nn.Conv2d(widths[-1], 1, 3, 1, 1)
        self.domain = nn.Linear(widths[-1], domains)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Origin:
        features = self.layers(x)
        return Origin(self.real(features), self.domain(features.mean((2, 3))))
