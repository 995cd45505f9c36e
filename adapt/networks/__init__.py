"""Networks by their names: segmentors in a folder, and what else methods play with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from adapt.networks.image_generator import Reconstructor, Translator
from adapt.networks.segmentor import Segmented, Segmentor
from adapt.networks.segmentors.deeplab_v2 import DeepLabV2ResNet101
from adapt.networks.segmentors.fcn8s import FCN8sVGG16
from adapt.networks.segmentors.lraspp import LRASPPMobileNetV2
from adapt.networks.segmentors.pidnet import PIDNetS
from roadshift import unknown

__all__ = ["SEGMENTORS", "Part", "Segmented", "Segmentor", "build", "build_part"]

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


Part = Mapping[str, Any]
"""A network of a run as run.json describes it: its "kind", and what that is built from."""
GENERATORS: dict[str, Callable[..., nn.Module]] = {
    "translator": Translator,
    "reconstructor": Reconstructor,
}


def build_part(part: Part) -> nn.Module:
    """The network that was described, untrained; UserError names the known kinds."""
    kind, numbers = str(part["kind"]), {k: v for k, v in part.items() if k != "kind"}
    kinds: dict[str, Callable[..., nn.Module]] = {**SEGMENTORS, **GENERATORS}
    if kind not in kinds:
        raise unknown("kind of network", kind, kinds)
    return kinds[kind](**numbers)
