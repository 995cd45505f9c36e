"""G_img of feature-to-image adaptation: an image, drawn from what a segmentor's backbone saw.

Sankaranarayanan et al., "Learning from Synthetic Data", CVPR 2018: dropout in place of noise, and
what the classifier reads besides the deepest features is read as well. Theirs is written for the
maps of FCN-8s; this one doubles its map from the features' stride to the image's, for all of them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from adapt.networks.image_generator import init_convolution
from adapt.networks.segmentor import PROBED, Segmented, Segmentor


class Level(NamedTuple):
    """A map of the embedding: its channels, and how many times smaller than the image it is."""

    channels: int
    stride: int


def levels_of(like: Segmentor) -> tuple[Level, tuple[Level, ...]]:
    """Of a segmentor's features, and of its skips."""
    shapes = like.probed()
    features, *skips = (_level(z) for z in (shapes.features, *shapes.skips))
    return features, tuple(skips)


class FeatureGenerator(nn.Module):
    """Embedding -> RGB in (0, 1). At stride s it has `width` * min(s, 8) channels.

    The dropout is the noise: it stays on also when the generator is looked at.
    """

    def __init__(
        self, features: Level, skips: tuple[Level, ...], width: int = 64, dropout: float = 0.5
    ) -> None:
        super().__init__()
        strides = [features.stride >> i for i in range(features.stride.bit_length())]
        self.strides, self.skipped = strides, {s.stride: k for k, s in enumerate(skips)}
        extra = {s.stride: s.channels for s in skips}
        before = features.channels
        self.stages = nn.ModuleList()
        for stride in strides:
            after = width * min(stride, 8)
            self.stages.append(_stage(before + extra.get(stride, 0), after, dropout))
            before = after
        self.head = nn.Conv2d(before, 3, 7, 1, 3)
        self.apply(init_convolution)

    def forward(self, seen: Segmented, size: tuple[int, int]) -> Float[Tensor, "n 3 h w"]:
        """What was seen of an image of `size` (height, width) -> the image."""
        x = seen.features
        for stride, stage in zip(self.strides, self.stages, strict=True):
            shape = (-(-size[0] // stride), -(-size[1] // stride))
            maps = [x]
            if stride in self.skipped:
                maps.append(seen.skips[self.skipped[stride]])
            x = stage(torch.cat([_resized(z, shape) for z in maps], 1))
        return torch.sigmoid(self.head(x))


class _Residual(nn.Module):
    """One convolution, normed, with dropout, beside the identity: the paper's block."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.InstanceNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def _stage(before: int, after: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, 1, 1, bias=False),
        nn.InstanceNorm2d(after),
        nn.ReLU(inplace=True),
        _Residual(after, dropout),
        _Residual(after, dropout),
    )


def _resized(z: Tensor, size: tuple[int, int]) -> Tensor:
    same = (z.shape[2], z.shape[3]) == size
    return z if same else interpolate(z, size=size, mode="bilinear", align_corners=False)


def _level(z: Tensor) -> Level:
    """The next power of two: maps may have a cell more or less than the image's size says."""
    ratio = PROBED / z.shape[2]
    return Level(z.shape[1], min((1 << i for i in range(7)), key=lambda s: abs(s - ratio)))
