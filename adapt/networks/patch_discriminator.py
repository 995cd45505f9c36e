"""Patch discriminators (PatchGAN): Isola et al., CVPR 2017; several scales: Wang et al., CVPR 2018.

Every output judges one patch of the image. The features on the way are answered too, for feature
matching (label-driven reconstruction, Eq. 5).
"""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from adapt.networks.image_generator import init_convolution


class Judged(NamedTuple):
    """The intermediate features, first to last, and the logits [n, 1, h', w'] of the patches."""

    features: tuple[Tensor, ...]
    logits: Tensor


class PatchDiscriminator(nn.Module):
    """[n, channels, h, w] -> features and logits: three halvings, patches of 70x70 pixels."""

    def __init__(self, channels: int, width: int = 64) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        first = nn.Sequential(nn.Conv2d(channels, width, 4, 2, 2), nn.LeakyReLU(0.2))
        inner = [
            nn.Sequential(
                nn.Conv2d(before, after, 4, stride, 2),
                nn.InstanceNorm2d(after),
                nn.LeakyReLU(0.2),
            )
            for before, after, stride in zip(widths[:-1], widths[1:], (2, 2, 1), strict=True)
        ]
        self.layers = nn.ModuleList([first, *inner])
        self.head = nn.Conv2d(widths[-1], 1, 4, 1, 2)
        self.apply(init_convolution)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Judged:
        features: list[Tensor] = []
        for layer in self.layers:
            x = layer(x)
            features.append(x)
        return Judged(tuple(features), self.head(x))


class Pyramid(nn.Module):
    """D_1, D_2, D_3: the same network three times, on the image at scale 1, 1/2 and 1/4."""

    def __init__(self, channels: int, width: int = 64, scales: int = 3) -> None:
        super().__init__()
        self.scales = nn.ModuleList(PatchDiscriminator(channels, width) for _ in range(scales))

    def forward(self, x: Float[Tensor, "n c h w"]) -> list[Judged]:
        judged: list[Judged] = []
        for k, scale in enumerate(self.scales):
            x = avg_pool2d(x, 3, 2, 1, count_include_pad=False) if k else x
            judged.append(scale(x))
        return judged
