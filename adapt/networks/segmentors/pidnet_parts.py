"""The blocks of PIDNet: residual blocks, and the three places where branches meet.

Xu, Xiong, Bhattacharyya, CVPR 2023, figures 3 to 5. Attribute names are those of the authors'
checkpoints. Stages are linear at their end: who reads the features decides on the activation.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate


def conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A convolution that keeps the size (over the stride), and batch norm."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


def norm_conv(inputs: int, outputs: int, kernel: int = 1, groups: int = 1) -> list[nn.Module]:
    """Batch norm and activation before the convolution."""
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
    return [nn.BatchNorm2d(inputs), nn.ReLU(inplace=True), conv]


def resize(x: Float[Tensor, "n k h w"], like: Float[Tensor, "n k2 h2 w2"]) -> Tensor:
    """Bilinearly to the height and width of `like`."""
    return interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a skip, an activation after them unless `linear`."""

    def __init__(self, inputs: int, width: int, stride: int = 1, *, linear: bool = True) -> None:
        super().__init__()
        self.linear = linear
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _skip(inputs, width, stride)

    def forward(self, x: Float[Tensor, "n k h w"]) -> Float[Tensor, "n k2 h2 w2"]:
        """Half the size where the stride is two."""
        inner = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(inner)) + self.downsample(x)
        return y if self.linear else y.relu()


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 to twice the width, beside a skip; linear at the end.

    Also between two of them: so the authors trained theirs.
    """

    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 2 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(2 * width)
        self.downsample = _skip(inputs, 2 * width, stride)

    def forward(self, x: Float[Tensor, "n k h w"]) -> Float[Tensor, "n k2 h2 w2"]:
        """Half the size where the stride is two."""
        inner = self.bn1(self.conv1(x)).relu()
        inner = self.bn2(self.conv2(inner)).relu()
        return self.bn3(self.conv3(inner)) + self.downsample(x)


def _skip(inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return conv_norm(inputs, outputs, 1, stride)


def stage(inputs: int, width: int, count: int, stride: int = 1) -> nn.Sequential:
    """`count` basic blocks; the first has the stride and the new width, the last is linear."""
    sizes = [(inputs, stride)] + [(width, 1)] * (count - 1)
    return nn.Sequential(
        *(BasicBlock(k, width, s, linear=n == count) for n, (k, s) in enumerate(sizes, start=1))
    )


def head(inputs: int, width: int, classes: int) -> nn.Sequential:
    """3x3 to `width`, 1x1 to the classes, each behind batch norm and activation."""
    score = nn.Conv2d(width, classes, 1)
    return nn.Sequential(
        *norm_conv(inputs, width, 3), nn.BatchNorm2d(width), nn.ReLU(inplace=True), score
    )


class PagFM(nn.Module):
    """Pixel-attention-guided fusion: P takes from I where the two agree on the pixel."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.f_x = conv_norm(channels, width, 1)
        self.f_y = conv_norm(channels, width, 1)

    def forward(
        self, p: Float[Tensor, "n k h w"], i: Float[Tensor, "n k h2 w2"]
    ) -> Float[Tensor, "n k h w"]:
        """sigma * I + (1 - sigma) * P, with sigma from the inner product of their embeddings."""
        sigma = (self.f_x(p) * resize(self.f_y(i), p)).sum(1, keepdim=True).sigmoid()
        return torch.lerp(p, resize(i, p), sigma)


class LightBag(nn.Module):
    """Boundary-attention-guided fusion: detail of P where D sees a border, else context of I."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv_p = conv_norm(inputs, outputs, 1)
        self.conv_i = conv_norm(inputs, outputs, 1)

    def forward(
        self,
        p: Float[Tensor, "n k h w"],
        i: Float[Tensor, "n k h w"],
        d: Float[Tensor, "n k h w"],
    ) -> Float[Tensor, "n k2 h w"]:
        """Two 1x1 convolutions, of P with I added off the borders and of I with P added on them."""
        border = d.sigmoid()
        return self.conv_p(p + (1 - border) * i) + self.conv_i(i + border * p)


class PAPPM(nn.Module):
    """Parallel aggregation pyramid pooling: four scales beside the features, processed at once.

    Average pools of fixed windows 5, 9 and 17 and one over everything: unlike adaptive pools to a
    grid, these are exact at every size once exported.
    """

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.scale0 = nn.Sequential(*norm_conv(inputs, width))
        self.scale1 = nn.Sequential(nn.AvgPool2d(5, 2, 2), *norm_conv(inputs, width))
        self.scale2 = nn.Sequential(nn.AvgPool2d(9, 4, 4), *norm_conv(inputs, width))
        self.scale3 = nn.Sequential(nn.AvgPool2d(17, 8, 8), *norm_conv(inputs, width))
        self.scale4 = nn.Sequential(nn.AdaptiveAvgPool2d(1), *norm_conv(inputs, width))
        self.scale_process = nn.Sequential(*norm_conv(4 * width, 4 * width, 3, groups=4))
        self.compression = nn.Sequential(*norm_conv(5 * width, outputs))
        self.shortcut = nn.Sequential(*norm_conv(inputs, outputs))

    def forward(self, x: Float[Tensor, "n k h w"]) -> Float[Tensor, "n k2 h w"]:
        """Features -> features that have seen the whole image."""
        own = self.scale0(x)
        scales = (self.scale1, self.scale2, self.scale3, self.scale4)
        pooled = torch.cat([own + resize(scale(x), x) for scale in scales], 1)
        return self.compression(torch.cat([own, self.scale_process(pooled)], 1)) + self.shortcut(x)
