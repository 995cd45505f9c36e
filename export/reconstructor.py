"""The reconstructor as it is deployed, labels in and an image out, and its ONNX graph.

A label map is read like an image: resized to the size worked at in training, drawn, and the drawing
resized back. Which pixel is the nearest is computed in whole numbers, so every runtime takes the
same one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from adapt.networks.image_generator import Reconstructor
from export.onnx_file import Size, check_model, check_size, export_module

INPUT, OUTPUT = "labels", "image"


class Rebuilding(nn.Module):
    """Label map in, image of its size out, so that no client can do it wrongly.

    Holds the resizing to the size worked at in training and back, the vector of classes at every
    pixel (all zero for 255 and whatever else is no class), the network, and the rounding.
    """

    classes: Tensor

    def __init__(self, reconstructor: Reconstructor, work_size: Size | None) -> None:
        super().__init__()
        self.reconstructor = reconstructor
        self.work_size = work_size
        indices = torch.arange(reconstructor.classes, dtype=torch.int32)
        self.register_buffer("classes", indices.view(1, -1, 1, 1))

    def forward(self, labels: Tensor) -> Tensor:
        """Indices of classes, uint8 [n,h,w] -> RGB uint8 [n,h,w,3]."""
        size = (labels.shape[1], labels.shape[2])
        if self.work_size is not None:
            labels = _nearest(labels, self.work_size)
        omega = (labels[:, None].to(torch.int32) == self.classes).float()
        x = self.reconstructor(omega)
        if self.work_size is not None:
            x = interpolate(x, size=size, mode="bilinear", align_corners=False)
        return (x * 255).round().to(torch.uint8).permute(0, 2, 3, 1)


def smallest_size(reconstructor: Reconstructor, work_size: Size | None) -> Size:
    """The smallest (height, width) of label maps for which a graph is made."""
    return reconstructor.min_size if work_size is None else (16, 16)


def to_onnx(module: Rebuilding, size: Size | None, metadata: Mapping[str, Any]) -> onnx.ModelProto:
    """The graph for label maps of `size` (height, width), or of every size when None.

    `metadata` (JSON values) travels in the file's properties. Raises UserError for a size below the
    network's smallest, Failure when torch cannot export the network or the graph is not as it
    should be.
    """
    check_size(size, smallest_size(module.reconstructor, module.work_size), "reconstructor")
    model = export_module(module, size, (), (INPUT, [OUTPUT]), metadata)
    full = ("n", *(size or ("height", "width")))
    uint8 = onnx.TensorProto.UINT8
    check_model(model, {INPUT: (uint8, full), OUTPUT: (uint8, (*full, 3))})
    return model


def _nearest(labels: Tensor, size: Size) -> Tensor:
    """[n,h,w] -> [n,*size]: of each pixel's centre, the pixel of the map that it lies in."""
    for axis, wanted in enumerate(size, start=1):
        centres = 2 * torch.arange(wanted, device=labels.device) + 1
        labels = labels.index_select(axis, centres * labels.shape[axis] // (2 * wanted))
    return labels
