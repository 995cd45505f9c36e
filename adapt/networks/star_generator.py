"""One generator for every direction between domains: it is told which one to draw.

Choi et al., "StarGAN", CVPR 2018. There the domain's code is laid beside the image as constant
planes, before a convolution and an instance norm, which takes constants out again: the code acts
through the zero padding of the borders alone. Here it meets the image in a layer without a norm.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from adapt.networks.image_generator import ImageGenerator, changed, no_change


class StarGenerator(nn.Module):
    """An image in the colours of the domain asked for; RGB in [0, 1] in and out.

    As the translator F, it computes the change of each value's log-odds, with a gain and an offset
    a channel from the image's levels (and the code); untrained it is (nearly) the identity.
    """

    def __init__(self, domains: int = 2, width: int = 64, blocks: int = 6) -> None:
        super().__init__()
        self.domains = domains
        # One by one pixel: what a colour becomes, by domain, before anything is normed.
        self.stem = nn.Sequential(nn.Conv2d(3 + domains, width // 2, 1), nn.LeakyReLU(0.2))
        self.generator = ImageGenerator(width // 2, width, downs=2, blocks=blocks, border="zeros")
        self.levels = no_change(self.generator, 6 + domains)

    def forward(
        self, x: Float[Tensor, "n 3 h w"], code: Float[Tensor, "n d"]
    ) -> Float[Tensor, "n 3 h w"]:
        """RGB in [0, 1], and of each image the domain to draw (one-hot) -> RGB in (0, 1)."""
        planes = code[:, :, None, None].expand(-1, -1, *x.shape[2:])
        drawn = self.generator(self.stem(torch.cat([2 * x - 1, planes], 1)))
        return changed(x, drawn, self.levels, code)


class Towards(nn.Module):
    """A star generator in one direction: every image in the colours of `domain`."""

    def __init__(self, generator: StarGenerator, domain: int) -> None:
        super().__init__()
        self.generator, self.domain = generator, domain

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
        """RGB in [0, 1] -> RGB in (0, 1)."""
        code = x.new_zeros(len(x), self.generator.domains)
        code[:, self.domain] = 1
        return self.generator(x, code)
