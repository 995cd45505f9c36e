"""PIDNet-S, the network for vehicles: plain convolutions, exact when exported.

Xu, Xiong, Bhattacharyya, "PIDNet: A Real-time Semantic Segmentation Network Inspired by PID
Controllers", CVPR 2023.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from adapt.networks.segmentor import Normalise, Recipe, Segmented, Segmentor
from adapt.networks.segmentors.pidnet_parts import (
    PAPPM,
    BasicBlock,
    Bottleneck,
    LightBag,
    PagFM,
    conv_norm,
    head,
    resize,
    stage,
)
from roadshift import UserError


class PIDNetS(Segmentor):
    """[n, 3, h, w] RGB in [0, 1] -> logits and auxiliary logits at stride 8.

    Branch P keeps detail, I gathers context, D follows borders; PagFM lets P take from I, PAPPM
    pools I, Bag mixes the three with D as the switch. `aux` is the head the paper puts on P. Its
    boundary head on D, with the losses that need boundary labels, is left out: D is trained through
    the fusion only.

    The backbone carries the names of the authors' checkpoints, so theirs load with
    `--weights FILE`; torchvision has none. A classifier has no use for D and the fusion, so a file
    with the stages of I and P alone is accepted and the rest keeps its random start.

    In training it needs batches of two images at least: PAPPM normalises one value an image. Raises
    UserError otherwise.
    """

    align_corners = False
    # Published: SGD 1e-2 for all of it, on Cityscapes with ImageNet weights.
    recipe = Recipe("sgd", lr=1e-2, backbone_scale=1.0, weight_decay=5e-4)
    optional = ("compression", "pag", "diff", "spp.", "dfm.", "layer3_d", "layer4_d", "layer5_d")

    def __init__(self, classes: int, width: int = 32) -> None:
        super().__init__()
        self.normalise = Normalise.imagenet()
        self.backbone: PIDNetBranches = PIDNetBranches(width)
        self.head = head(4 * width, 128, classes)
        self.aux = head(2 * width, 128, classes)
        for module in [*self.head.modules(), *self.aux.modules()]:
            he_init(module)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Segmented:
        """RGB in [0, 1] -> logits of both heads, the backbone's last features."""
        if self.backbone.spp.scale4.training and x.shape[0] == 1:
            raise UserError(
                "pidnet_s was given one image at a time and cannot train its batch norm on that; "
                "pass `--batch 2` or more"
            )
        fused, p = self.backbone(self.normalise(x))
        read = self.head[:-1](fused)
        return Segmented(self.head[-1](read), self.aux(p), fused, pre_logits=(read,))


class PIDNetBranches(nn.Module):
    """Normalised image -> the fused features, and P's after it first took from I, both at /8."""

    def __init__(self, width: int) -> None:
        super().__init__()
        w = width
        self.conv1 = nn.Sequential(
            *(nn.Conv2d(3, w, 3, stride=2, padding=1), nn.BatchNorm2d(w), nn.ReLU(inplace=True)),
            *(nn.Conv2d(w, w, 3, stride=2, padding=1), nn.BatchNorm2d(w), nn.ReLU(inplace=True)),
        )
        self.layer1 = stage(w, w, 2)
        self.layer2 = stage(w, 2 * w, 2, stride=2)
        # I
        self.layer3 = stage(2 * w, 4 * w, 3, stride=2)
        self.layer4 = stage(4 * w, 8 * w, 3, stride=2)
        self.layer5 = nn.Sequential(Bottleneck(8 * w, 8 * w, 2), Bottleneck(16 * w, 8 * w))
        self.spp = PAPPM(16 * w, 96, 4 * w)
        # P
        self.compression3 = conv_norm(4 * w, 2 * w, 1)
        self.compression4 = conv_norm(8 * w, 2 * w, 1)
        self.pag3 = PagFM(2 * w, w)
        self.pag4 = PagFM(2 * w, w)
        self.layer3_ = stage(2 * w, 2 * w, 2)
        self.layer4_ = stage(2 * w, 2 * w, 2)
        self.layer5_ = nn.Sequential(Bottleneck(2 * w, 2 * w))
        # D
        self.layer3_d = BasicBlock(2 * w, w)
        self.layer4_d = nn.Sequential(Bottleneck(w, w))
        self.layer5_d = nn.Sequential(Bottleneck(2 * w, 2 * w))
        self.diff3 = conv_norm(4 * w, w, 3)
        self.diff4 = conv_norm(8 * w, 2 * w, 3)
        self.dfm = LightBag(4 * w, 4 * w)
        self.apply(he_init)

    def forward(
        self, x: Float[Tensor, "n 3 h w"]
    ) -> tuple[Float[Tensor, "n k h8 w8"], Float[Tensor, "n k2 h8 w8"]]:
        """Stages are linear at the end: a branch that goes on has its activation put here."""
        i = self.layer2(self.layer1(self.conv1(x)).relu()).relu()
        p, d = self.layer3_(i), self.layer3_d(i)

        i = self.layer3(i).relu()
        p = self.pag3(p, self.compression3(i))
        d = d + resize(self.diff3(i), d)
        early_p = p

        i = self.layer4(i).relu()
        p = self.pag4(self.layer4_(p.relu()), self.compression4(i))
        d = self.layer4_d(d.relu())
        d = d + resize(self.diff4(i), d)

        p, d = self.layer5_(p.relu()), self.layer5_d(d.relu())
        i = resize(self.spp(self.layer5(i)), d)
        return self.dfm(p, i, d), early_p


def he_init(module: nn.Module) -> None:
    """The published start: He's normal by fan-out for every convolution."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
