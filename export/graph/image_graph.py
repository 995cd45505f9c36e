"""A network whose answer is a picture, as it is deployed: the reconstructor or the translator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from export.bundle.graphs import GraphSpec
from export.frames import Pixels, Size
from export.graph.onnx_file import check_model, check_size, export_module


@dataclass(frozen=True, kw_only=True)
class ImageModule:
    """`module` takes uint8 [n,h,w,*channels] and answers RGB uint8 [n,h,w,3] of the same size.

    `smallest` is the smallest (height, width) that it takes. `more`, where there is one, makes an
    input [h,w,...] of a size that it must be compared on too.
    """

    spec: GraphSpec
    module: nn.Module
    smallest: Size
    more: Callable[[Size], Pixels] | None = None

    def __call__(self, given: Pixels) -> Pixels:
        """What torch draws of [n,h,w,...]."""
        with torch.inference_mode():
            return self.module(torch.from_numpy(given)).numpy()


def to_onnx(drawing: ImageModule, size: Size | None) -> onnx.ModelProto:
    """The graph for inputs of `size` (height, width), or of every size when None.

    Raises UserError for a size below the network's smallest, Failure when torch cannot export the
    network or the graph is not as it should be.
    """
    spec = drawing.spec
    check_size(size, drawing.smallest, spec.kind)
    model = export_module(drawing.module, size, spec.channels, (spec.input, [spec.output]))
    full, uint8 = ("n", *(size or ("height", "width"))), onnx.TensorProto.UINT8
    check_model(
        model,
        {spec.input: (uint8, (*full, *spec.channels)), spec.output: (uint8, (*full, 3))},
    )
    return model


def as_bytes(x: Tensor, size: Size, work_size: Size | None) -> Tensor:
    """RGB in [0, 1] [n,3,...] -> uint8 [n,*size,3], enlarged where there was a work size."""
    if work_size is not None:
        x = interpolate(x, size=size, mode="bilinear", align_corners=False)
    return (x * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
