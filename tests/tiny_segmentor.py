"""A segmentor that is trained and exported in no time: two convolutions and a normalisation."""

from __future__ import annotations

import torch
from torch import nn

from adapt.networks.segmentor import Normalise, Recipe, Segmented, Segmentor


class TinySegmentor(Segmentor):
    """Logits at a `stride`th of the size, auxiliary ones at half of it."""

    align_corners = False
    recipe = Recipe("sgd", 1e-2, 1.0, 0.0)
    min_size = (16, 16)

    def __init__(self, classes: int, stride: int = 4) -> None:
        super().__init__()
        self.normalise = Normalise.imagenet()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Conv2d(8, classes, 3, stride // 2, 1)
        self.aux_head = nn.Conv2d(8, classes, 1)

    def forward(self, x: torch.Tensor) -> Segmented:
        z = self.backbone(self.normalise(x))
        return Segmented(self.head(z), self.aux_head(z), z, pre_logits=(z,))
