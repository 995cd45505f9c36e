"""The discriminator of output space.

Tsai et al., "Learning to Adapt Structured Output Space for Semantic Segmentation", CVPR 2018, after
Radford et al., "Unsupervised Representation Learning with Deep Convolutional GANs", ICLR 2016.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from roadshift import UserError, hxw

STRIDE = 32


class OutputDiscriminator(nn.Sequential):
    """[n, c, h, w] class probabilities (or their entropies) -> [n, 1, h/32, w/32] domain scores.

    Fully convolutional: one unnormalised score a patch, no batch norm, no sigmoid. Height and width
    must be at least 32.
    """

    def __init__(self, channels: int, width: int = 64) -> None:
        super().__init__(
            nn.Conv2d(channels, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(2 * width, 4 * width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(4 * width, 8 * width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(8 * width, 1, 4, stride=2, padding=1),
        )

    def forward(self, input: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 1 hd wd"]:
        """Raises UserError for maps smaller than one patch: the training crops are too small."""
        size = input.shape[-2:]
        if min(size) < STRIDE:
            raise UserError(
                f"the output discriminator got a {hxw(size)} map and needs at least "
                f"{hxw((STRIDE, STRIDE))}; give a --crop of that size or larger"
            )
        return super().forward(input)
