"""D of feature-to-image adaptation: of which city is a patch, and is it real; and what is in it.

Sankaranarayanan et al., "Learning from Synthetic Data", CVPR 2018, with the layers of the authors'
code: instance norm, residual blocks, two poolings, so that a patch's score stands for 8 x 8 pixels.
"""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from adapt.networks.image_generator import init_convolution

STRIDE = 8


class Judgement(NamedTuple):
    """Logits of the four origins and of the classes, both by patch."""

    origin: Float[Tensor, "n 4 hd wd"]
    classes: Float[Tensor, "n c hd wd"]


class FourWayDiscriminator(nn.Module):
    """[n, 3, h, w] RGB in [0, 1] -> `Judgement` at stride 8.

    Without `patches` the origin is judged once for the whole image: hd = wd = 1.
    """

    def __init__(self, classes: int, width: int = 64, *, patches: bool = True) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(3, width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            _block(width, 2 * width),
            nn.MaxPool2d(2),
            _block(2 * width, 4 * width),
            nn.MaxPool2d(2),
        )
        self.whole = nn.Identity() if patches else nn.AdaptiveAvgPool2d(1)
        self.origin = nn.Conv2d(4 * width, 4, 3, 1, 1)
        self.classes = nn.Conv2d(4 * width, classes, 3, 1, 1)
        self.apply(init_convolution)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Judgement:
        z = self.trunk(2 * x - 1)
        return Judgement(self.whole(self.origin(z)), self.classes(z))


def _block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, 1, 1, bias=False), nn.InstanceNorm2d(after), nn.LeakyReLU(0.2)
    )
