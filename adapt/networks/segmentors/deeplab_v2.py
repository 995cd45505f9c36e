"""DeepLab-v2 on ResNet-101, the network most adaptation papers report.

Chen et al., "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution,
and Fully Connected CRFs", PAMI 2018, with the auxiliary classifier of Tsai et al., CVPR 2018.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models import ResNet101_Weights, resnet101

from adapt.networks.segmentor import Normalise, Recipe, Segmented, Segmentor


class SummedASPP(nn.Module):
    """[n, k, h, w] features -> [n, c, h, w] logits: the sum of one 3x3 convolution a dilation.

    All branches count. AdaptSegNet's own code returns after the second one; `dilations=(6, 12)` is
    that network, for comparing with its weights.
    """

    def __init__(self, channels: int, classes: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(channels, classes, 3, padding=d, dilation=d) for d in dilations
        )
        for name, parameter in self.named_parameters():
            if name.endswith("weight"):
                nn.init.normal_(parameter, 0, 0.01)
            else:
                nn.init.zeros_(parameter)

    def forward(self, x: Float[Tensor, "n k h w"]) -> Float[Tensor, "n c h w"]:
        """Features -> logits of the same size."""
        logits = self.branches[0](x)
        for branch in self.branches[1:]:
            logits = logits + branch(x)
        return logits


class DeepLabV2ResNet101(Segmentor):
    """[n, 3, h, w] RGB in [0, 1] -> logits and auxiliary logits at stride 8, both [n, c, hs, ws].

    The weights are torchvision's: images are normalised its way (group N2; the Caffe weights of the
    papers want N1, `Normalise.caffe()`), and the stride of a stage is on its 3x3 convolution where
    the Caffe layout has it on the first 1x1. Stages 3 and 4 have dilations 2 and 4 in place of
    strides. Batch norm is torchvision's, affine parameters trained; the papers freeze it, which is
    for the training loop to do. hs = ceil(h/8) + 1 where h is a multiple of 8: the ceil-mode pool.
    """

    align_corners = True
    # Published: backbone 2.5e-4, classifiers ten times that.
    recipe = Recipe("sgd", lr=2.5e-3, backbone_scale=0.1, weight_decay=5e-4)
    imagenet = ResNet101_Weights.IMAGENET1K_V1

    def __init__(self, classes: int, dilations: Sequence[int] = (6, 12, 18, 24)) -> None:
        super().__init__()
        self.normalise = Normalise.imagenet()
        self.backbone: nn.Sequential = _stages()
        self.aux = SummedASPP(1024, classes, dilations)
        self.head = SummedASPP(2048, classes, dilations)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Segmented:
        """RGB in [0, 1] -> logits of both heads, the backbone's last features."""
        third = self.backbone[:-1](self.normalise(x))
        fourth = self.backbone[-1](third)
        return Segmented(self.head(fourth), self.aux(third), fourth, pre_logits=(fourth,))


def _stages() -> nn.Sequential:
    """torchvision's ResNet-101 up to its last stage, under torchvision's names."""
    net = resnet101(weights=None, replace_stride_with_dilation=[False, True, True])
    # Ceil mode as in the Caffe network: 256 pixels end as 33 positions, the last on the border,
    # which is what upsampling with align_corners expects.
    net.maxpool = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
    names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    return nn.Sequential(OrderedDict((name, net.get_submodule(name)) for name in names))
