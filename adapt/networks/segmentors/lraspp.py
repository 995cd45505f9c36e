"""LR-ASPP on MobileNetV2, the network of the quickstart and of small CPUs.

Howard et al., "Searching for MobileNetV3", ICCV 2019 (the head), and Sandler et al., "MobileNetV2:
Inverted Residuals and Linear Bottlenecks", CVPR 2018 (the backbone).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2
from torchvision.models.segmentation.lraspp import LRASPPHead

from adapt.networks.segmentor import Normalise, Recipe, Segmented, Segmentor
from adapt.networks.upsampling import full_size


class LRASPPMobileNetV2(Segmentor):
    """[n, 3, h, w] RGB in [0, 1] -> logits at stride 8, auxiliary logits at stride 16.

    The backbone is not dilated: the deepest features have stride 32. Depthwise convolutions with
    dilation are several times slower on a CPU, and gained nothing at street-camera sizes.
    """

    align_corners = False
    recipe = Recipe("adamw", lr=1e-3, backbone_scale=0.3, weight_decay=1e-4)
    imagenet = MobileNet_V2_Weights.IMAGENET1K_V1

    def __init__(self, classes: int, width: int = 128) -> None:
        super().__init__()
        self.normalise = Normalise.imagenet()
        self.backbone: nn.Sequential = mobilenet_v2(weights=None).features
        self.head = LRASPPHead(32, 1280, classes, width)
        self.aux = nn.Conv2d(96, classes, 1)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Segmented:
        """RGB in [0, 1] -> logits of both heads, the backbone's last features, those at /8."""
        low = self.backbone[:7](self.normalise(x))
        middle = self.backbone[7:14](low)
        high = self.backbone[14:](middle)
        context = self.head.cbr(high) * self.head.scale(high)
        # Torchvision's head resizes the context first. The shares of a bilinear resize sum to one,
        # so a 1x1 convolution before it gives the same, of so many fewer channels and positions.
        size = (low.shape[2], low.shape[3])
        deep = full_size(self.head.high_classifier(context), size, self.align_corners)
        logits = self.head.low_classifier(low) + deep
        return Segmented(logits, self.aux(middle), high, (low,), (context, low))

    def translate(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's `features.0.0.weight` is `0.0.weight` here; its classifier is left out."""
        return {name.removeprefix("features."): t for name, t in state.items()}
