"""FCN-8s on VGG-16, the second network of the adaptation papers.

Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv_transpose2d
from torchvision.models import VGG16_Weights
from torchvision.models.vgg import cfgs, make_layers

from adapt.networks.segmentor import Normalise, Recipe, Segmented, Segmentor
from adapt.networks.upsampling import full_size

POOL3, POOL4 = 17, 24  # where the slices of torchvision's `features` end


class BilinearUpsample(nn.Module):
    """[n, c, h, w] -> [n, c, f*(h+1), f*(w+1)]: a transposed convolution that is never trained.

    One kernel for all channels, a buffer and no parameter, so that no optimizer can move it.
    """

    kernel: Tensor

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor
        ramp = 1 - (torch.arange(2 * factor) + 0.5 - factor).abs() / factor
        self.register_buffer("kernel", torch.outer(ramp, ramp)[None, None])

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c hu wu"]:
        """Every channel by itself."""
        kernel = self.kernel.expand(x.shape[1], -1, -1, -1)
        return conv_transpose2d(x, kernel, stride=self.factor, groups=x.shape[1])


class VGGTrunk(nn.Module):
    """VGG-16 under torchvision's names; pools in ceil mode, the classifier as convolutions."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.features = make_layers(cfgs["D"])
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                layer.ceil_mode = True
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        first = self.features[0]
        assert isinstance(first, nn.Conv2d)
        first.padding = (100, 100)
        self.classifier = nn.Sequential(
            *(nn.Conv2d(512, 4096, 7), nn.ReLU(inplace=True), nn.Dropout2d(dropout)),
            *(nn.Conv2d(4096, 4096, 1), nn.ReLU(inplace=True), nn.Dropout2d(dropout)),
        )


class FCN8sVGG16(Segmentor):
    """[n, 3, h, w] RGB in [0, 1] -> logits at the input's size, auxiliary logits at stride 16.

    The first convolution pads by 100 so that any image has fc6 features; the crops by 5, 9 and 31
    pixels take the margin off again. The auxiliary logits are the scores of pool4 where they lie on
    the image (to 3 pixels). torchvision's weights want group N2.
    """

    align_corners = False  # the logits are at full size: never resized on the way to labels
    recipe = Recipe("adam", lr=1e-5, backbone_scale=1.0, weight_decay=0.0, decay="tenth_every_50k")
    imagenet = VGG16_Weights.IMAGENET1K_V1

    def __init__(self, classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.normalise = Normalise.imagenet()
        self.backbone: VGGTrunk = VGGTrunk(dropout)
        self.score_fc7 = _zero(nn.Conv2d(4096, classes, 1))
        self.score_pool4 = _zero(nn.Conv2d(512, classes, 1))
        self.score_pool3 = _zero(nn.Conv2d(256, classes, 1))
        self.twice, self.eight_times = BilinearUpsample(2), BilinearUpsample(8)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Segmented:
        """RGB in [0, 1] -> logits of both heads, the backbone's last features."""
        features = self.backbone.features
        pool3 = features[:POOL3](self.normalise(x))
        pool4 = features[POOL3:POOL4](pool3)
        fc7 = self.backbone.classifier(features[POOL4:](pool4))
        score4, score3 = self.score_pool4(pool4), self.score_pool3(pool3)
        deep = self.twice(self.score_fc7(fc7))
        deep = self.twice(deep + _crop(score4, 5, deep))
        deep = deep + _crop(score3, 9, deep)
        logits = _crop(self.eight_times(deep), 31, x)
        # Cell j of pool4 lies around pixel 16 j - 91.5: the sixth is the first on the image.
        aux = _crop(score4, 6, x[..., ::16, ::16])
        return Segmented(logits, aux, fc7, pre_logits=(fc7,))

    def enlarged(
        self, z: Float[Tensor, "n k hs ws"], size: tuple[int, int]
    ) -> Float[Tensor, "n k h w"]:
        """Cell j of fc7 lies around pixel 32 j + 12.5, three pixels before its even share."""
        whole = full_size(z, (32 * z.shape[2], 32 * z.shape[3]), align_corners=False)
        return whole[..., 3 : 3 + size[0], 3 : 3 + size[1]]

    def translate(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """fc6 and fc7 of ImageNet's classifier become a 7x7 and a 1x1 convolution."""
        shapes = {
            "classifier.0.weight": (4096, 512, 7, 7),
            "classifier.3.weight": (4096, 4096, 1, 1),
        }
        reshaped = dict(state)
        for name, shape in shapes.items():
            if name in state and state[name].numel() == torch.Size(shape).numel():
                reshaped[name] = state[name].reshape(shape)
        return reshaped


def _zero(conv: nn.Conv2d) -> nn.Conv2d:
    """Scores start at zero, as published: the fusion begins with no branch louder than another."""
    for parameter in conv.parameters():
        nn.init.zeros_(parameter)
    return conv


def _crop(x: Tensor, offset: int, like: Tensor) -> Tensor:
    """`x` from `offset` on, at the height and width of `like`."""
    height, width = like.shape[-2:]
    return x[..., offset : offset + height, offset : offset + width]
