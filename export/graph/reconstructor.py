"""The reconstructor as it is deployed, labels in and an image out.

A label map is read like an image: resized to the size worked at in training, drawn, and the drawing
resized back. Which pixel is the nearest is computed in whole numbers, so every runtime takes the
same one.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from adapt.checkpoint import SavedRun
from adapt.networks.image_generator import Reconstructor
from export.bundle.graphs import RECONSTRUCTOR
from export.frames import Pixels, Size
from export.graph.image_graph import ImageModule, as_bytes
from export.graph.onnx_file import smallest_size


class DeployedReconstructor(nn.Module):
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
        return as_bytes(self.reconstructor(omega), size, self.work_size)


def of_run(saved: SavedRun) -> ImageModule | None:
    """That of a run, where it has one."""
    if saved.reconstructor is None:
        return None
    of_another = saved.info.parts.get("reconstructor", {}).get("work_size")
    return drawing(saved.reconstructor, of_another or saved.info.work_size)


def drawing(reconstructor: Reconstructor, work_size: Size | None) -> ImageModule:
    """The reconstructor as one graph; it is also compared on a map of all classes."""
    classes = reconstructor.classes
    return ImageModule(
        spec=RECONSTRUCTOR,
        module=DeployedReconstructor(reconstructor, work_size).eval(),
        smallest=smallest_size(reconstructor.min_size, work_size),
        more=lambda size: striped(size, classes),
    )


def striped(size: Size, classes: int) -> Pixels:
    """A label map of that size with every class and 255 in slanting stripes of four pixels."""
    y, x = np.indices(size)
    stripes = ((x + y) // 4 % (classes + 1)).astype(np.uint8)
    stripes[stripes == classes] = 255
    return stripes


def _nearest(labels: Tensor, size: Size) -> Tensor:
    """[n,h,w] -> [n,*size]: of each pixel's centre, the pixel of the map that it lies in."""
    for axis, wanted in enumerate(size, start=1):
        centres = 2 * torch.arange(wanted, device=labels.device) + 1
        labels = labels.index_select(axis, centres * labels.shape[axis] // (2 * wanted))
    return labels
