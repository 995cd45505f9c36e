"""The networks: one a file, with its source, its published numbers and its pretrained weights."""

from __future__ import annotations

from adapt.networks.deeplab_v2 import DeepLabV2ResNet101
from adapt.networks.fcn8s import FCN8sVGG16
from adapt.networks.lraspp import LRASPPMobileNetV2
from adapt.networks.pidnet import PIDNetS
from adapt.networks.segmentor import Segmented, Segmentor
from roadshift import unknown

__all__ = ["SEGMENTORS", "Segmented", "Segmentor", "build"]

SEGMENTORS: dict[str, type[Segmentor]] = {
    "deeplabv2_resnet101": DeepLabV2ResNet101,
    "fcn8s_vgg16": FCN8sVGG16,
    "lraspp_mobilenet_v2": LRASPPMobileNetV2,
    "pidnet_s": PIDNetS,
}


def build(name: str, classes: int) -> Segmentor:
    """A segmentor by its name, without pretrained weights; UserError names the known ones."""
    if name not in SEGMENTORS:
        raise unknown("network", name, SEGMENTORS)
    return SEGMENTORS[name](classes)
