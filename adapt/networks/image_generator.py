"""Image generators: the translator F and the reconstructor M.

Johnson et al., "Perceptual Losses for Real-Time Style Transfer", ECCV 2016 (the layout), with the
instance norm and reflection padding of CycleGAN (Zhu et al., ICCV 2017) and pix2pixHD.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

Border = Literal["reflect", "zeros"]


class ImageGenerator(nn.Module):
    """[n, inputs, h, w] -> [n, 3, h, w]: `downs` halvings, residual blocks, as many doublings.

    `width` channels at full size, doubled at every halving. What comes out is unbounded; the two
    networks below make an image of it. A doubling repeats pixels before a convolution (Odena et
    al., "Deconvolution and Checkerboard Artifacts", 2016): the layout's transposed convolutions of
    kernel 3 and stride 2 reach every other row and column more often, and draw a grid.
    """

    def __init__(
        self, inputs: int, width: int, *, downs: int, blocks: int, border: Border = "reflect"
    ) -> None:
        """`border`: how the first convolution pads."""
        super().__init__()
        deepest = width << downs
        layers: list[nn.Module] = [_convolution(inputs, width, 7, border), *_normed(width)]
        for i in range(downs):
            wider = width << (i + 1)
            layers += [nn.Conv2d(wider // 2, wider, 3, 2, 1), *_normed(wider)]
        layers += [_Residual(deepest) for _ in range(blocks)]
        for i in reversed(range(downs)):
            narrower = width << i
            layers += [nn.Upsample(scale_factor=2), _convolution(2 * narrower, narrower, 3)]
            layers += _normed(narrower)
        self.layers = nn.Sequential(*layers, _convolution(width, 3, 7))
        self.apply(init_convolution)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 h w"]:
        """Any size: every halving rounds up, and what is then too much is cut off."""
        y = self.layers(x)
        return y[:, :, : x.shape[2], : x.shape[3]]


class Translator(nn.Module):
    """F: an image of one city in the colours of the other; RGB in [0, 1] in and out.

    The generator of CycleGAN's, which draws the whole image anew, with its input added: what it
    computes is the change of each value's log-odds. Instance norm hides from it how light the image
    is, so the log-odds also get a gain and an offset a channel, linear in their mean and deviation
    over the image: dark frames can be brightened more than light ones. Untrained it is (nearly) the
    identity, so that short trainings do not have to learn to copy first.
    """

    min_size = (16, 16)

    def __init__(self, width: int = 64, blocks: int = 9) -> None:
        super().__init__()
        self.generator = ImageGenerator(3, width, downs=2, blocks=blocks)
        self.levels = no_change(self.generator, 6)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
        """RGB in [0, 1] -> RGB in (0, 1)."""
        return changed(x, self.generator(2 * x - 1), self.levels)


def changed(
    x: Float[Tensor, "n 3 h w"],
    change: Float[Tensor, "n 3 h w"],
    levels: nn.Linear,
    code: Float[Tensor, "n d"] | None = None,
) -> Float[Tensor, "n 3 h w"]:
    """RGB in [0, 1] -> RGB in (0, 1): log-odds plus their change, and a gain and an offset a
    channel that `levels` makes of their mean and deviation over the image (and of a code)."""
    odds = torch.logit(x.clamp(1 / 128, 127 / 128))
    mean = odds.mean((2, 3), keepdim=True)
    variance = (odds - mean).square().mean((2, 3), keepdim=True)
    deviation = variance.clamp(min=1e-12).sqrt()  # of one colour: no infinite gradient
    known = torch.cat([mean, deviation], 1).flatten(1)
    asked = levels(known if code is None else torch.cat([known, code], 1))
    gain, offset = asked[:, :, None, None].chunk(2, 1)
    return torch.sigmoid(odds + change + gain * (odds - mean) + offset)


def no_change(generator: ImageGenerator, inputs: int) -> nn.Linear:
    """The levels, of so many inputs, and a quiet generator: `changed` then (nearly) copies."""
    head = generator.layers[-1]
    assert isinstance(head, nn.Conv2d)
    nn.init.normal_(head.weight, 0, 0.002)
    levels = nn.Linear(inputs, 6)
    nn.init.zeros_(levels.weight)
    nn.init.zeros_(levels.bias)
    return levels


class Reconstructor(nn.Module):
    """M: a label map, as a vector of classes per pixel, drawn as an image; RGB in [0, 1]."""

    min_size = (32, 32)

    def __init__(self, classes: int, width: int = 64, blocks: int = 9) -> None:
        super().__init__()
        self.classes = classes
        # Reflected, a map of one class would stay constant, and instance norm would divide the
        # rounding errors in it by their own size.
        self.generator = ImageGenerator(classes, width, downs=3, blocks=blocks, border="zeros")

    def forward(self, omega: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 h w"]:
        """Omega (Eq. 3): 0..1 per class, all 0 where nothing is known -> RGB in (0, 1)."""
        return (self.generator(omega).tanh() + 1) / 2


class _Residual(nn.Module):
    """Two 3x3 convolutions beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _convolution(channels, channels, 3),
            *_normed(channels),
            _convolution(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def init_convolution(module: nn.Module) -> None:
    """Weights from N(0, 0.02), biases 0: CycleGAN, pix2pixHD."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _convolution(inputs: int, outputs: int, kernel: int, border: Border = "reflect") -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, padding_mode=border)


def _normed(channels: int) -> list[nn.Module]:
    return [nn.InstanceNorm2d(channels), nn.ReLU(inplace=True)]
