"""Features of a frozen ImageNet network, in which two images are compared (perceptual loss).

Johnson et al., ECCV 2016; the layers of VGG-19 are those of pix2pixHD (Wang et al., CVPR 2018).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models import mobilenet_v2, vgg19

from adapt.networks.segmentor import Normalise
from adapt.networks.weights import read_weights
from roadshift import UserError

TAPS: Mapping[str, Sequence[int]] = {
    # After relu1_1, relu2_1, relu3_1, relu4_1, relu5_1 of torchvision's vgg19.features.
    "vgg19": (2, 7, 12, 21, 30),
    # The last blocks at strides 2, 4, 8 and 16 of torchvision's mobilenet_v2.features.
    "mobilenet_v2": (2, 4, 7, 14),
}
BUILDERS = {"vgg19": vgg19, "mobilenet_v2": mobilenet_v2}


class Perceptual(nn.Module):
    """V: RGB in [0, 1] -> the features V_1 ... V_M; frozen, eval mode whatever it is told."""

    def __init__(self, kind: str, weights: Mapping[str, Tensor]) -> None:
        """`weights`: all of the network's `features.*` tensors in torchvision's layout.

        Raises UserError when they are another network's.
        """
        super().__init__()
        self.normalise = Normalise.imagenet()
        self.taps = TAPS[kind]
        features = BUILDERS[kind](weights=None).features
        self.layers = nn.Sequential(*list(features.children())[: self.taps[-1]])
        wanted = self.layers.state_dict()
        given = {k.removeprefix("features."): v for k, v in weights.items()}
        for name, tensor in wanted.items():
            if name not in given or given[name].shape != tensor.shape:
                found = tuple(given[name].shape) if name in given else "missing"
                raise UserError(
                    f"the weights are not those of {kind}: features.{name} is {found}, wanted "
                    f"{tuple(tensor.shape)}; give a file in torchvision's layout, or another "
                    "--perceptual"
                )
        self.layers.load_state_dict({name: given[name] for name in wanted})
        for layer in self.layers.modules():
            if isinstance(layer, nn.ReLU | nn.ReLU6):
                layer.inplace = False  # the features before it are compared as well
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Perceptual:  # noqa: ARG002 - it is never trained
        return super().train(False)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> list[Tensor]:
        features: list[Tensor] = []
        x = self.normalise(x)
        for i, layer in enumerate(self.layers, 1):
            x = layer(x)
            if i in self.taps:
                features.append(x)
        return features


def read_perceptual(kind: str, weights: str) -> Perceptual | None:
    """The network with its weights file, or None where `kind` is "none" or there is no file named.

    It is never left with random weights. Raises UserError when the file is another network's.
    """
    if kind == "none" or not weights:
        return None
    with torch.random.fork_rng(devices=[]):  # the random start is replaced: leave no trace of it
        return Perceptual(kind, read_weights(Path(weights)))
