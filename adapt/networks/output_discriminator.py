"""The discriminator of output space.

Tsai et al., "Learning to Adapt Structured Output Space for Semantic Segmentation", CVPR 2018, after
Radford et al., "Unsupervised Representation Learning with Deep Convolutional GANs", ICLR 2016.
"""

from __future__ import annotations

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from roadshift import UserError, hxw

HALVINGS = 5
"""AdaptSegNet's: a score for every 32 x 32 pixels"""


class OutputDiscriminator(nn.Sequential):
    """[n, c, h, w] class probabilities (or their entropies) -> [n, 1, h/32, w/32] domain scores.

    Fully convolutional: one unnormalised score a patch, no batch norm, no sigmoid. Height and width
    must be at least 32; with fewer `halvings`, 2 to that power in place of 32.
    """

    def __init__(self, channels: int, width: int = 64, halvings: int = HALVINGS) -> None:
        widths = [channels, *(width * 2**k for k in range(halvings - 1)), 1]
        layers = list[nn.Module]()
        for before, after in pairwise(widths):
            layers += [
                nn.Conv2d(before, after, 4, stride=2, padding=1),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        super().__init__(*layers[:-1])
        self.stride = 2**halvings

    def forward(self, input: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 1 hd wd"]:
        """Raises UserError for maps smaller than one patch: the training crops are too small."""
        size = input.shape[-2:]
        if min(size) < self.stride:
            raise UserError(
                f"the output discriminator got a {hxw(size)} map and needs at least "
                f"{hxw((self.stride, self.stride))}; give a --crop of that size or larger"
            )
        return super().forward(input)
