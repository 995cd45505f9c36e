"""The whole deployed function as one module, and that module as one ONNX graph."""

from __future__ import annotations

from typing import NamedTuple

import onnx
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from adapt.evaluation.evaluate import logits_of
from adapt.networks.segmentor import Segmentor
from export.bundle.graphs import SEGMENTOR
from export.frames import Size
from export.graph.onnx_file import (
    check_model,
    check_size,
    export_module,
    smallest_size,
    tensors,
)
from roadshift import Failure

OUTPUTS = tuple(SEGMENTOR.outputs)


class SegmentorOutputs(NamedTuple):
    """What the graph answers; `logits` are those at low resolution, before upsampling."""

    labels: Tensor
    confidence: Tensor
    logits: Tensor


class Deployed(nn.Module):
    """Camera frame in, label map of the frame's size out, so that no client can do it wrongly.

    Holds the resizing to the size worked at in training, the normalisation (it is the network's),
    the network, the bilinear upsampling of its logits and the argmax.
    """

    def __init__(self, segmentor: Segmentor, work_size: Size | None) -> None:
        super().__init__()
        self.segmentor = segmentor
        self.work_size = work_size
        self.align_corners = segmentor.align_corners
        self.smallest = smallest_size(segmentor.min_size, work_size)

    def forward(self, image: Tensor) -> SegmentorOutputs:
        """RGB uint8 [n,h,w,3] -> labels and confidence, uint8 [n,h,w], and logits.

        The confidence is the largest softmax probability times 255, rounded.
        """
        logits = logits_of(self.segmentor, image, self.work_size)
        size = (image.shape[1], image.shape[2])
        full = interpolate(logits, size=size, mode="bilinear", align_corners=self.align_corners)
        # The same number as softmax(1).amax(1), in an eighth of the time under ONNX Runtime.
        confidence = 1 / (full - full.amax(1, keepdim=True)).exp().sum(1)
        return SegmentorOutputs(
            full.argmax(1).to(torch.uint8), (confidence * 255).round().to(torch.uint8), logits
        )


def to_onnx(deployed: Deployed, size: Size | None) -> onnx.ModelProto:
    """The graph for frames of `size` (height, width), or of every size when None.

    Raises UserError for a size below the network's smallest, Failure when torch cannot export the
    network or the graph is not as it should be.
    """
    check_size(size, deployed.smallest, "network")
    model = export_module(deployed, size, SEGMENTOR.channels, (SEGMENTOR.input, OUTPUTS))
    check_graph(model, size)
    return model


def check_graph(model: onnx.ModelProto, size: Size | None) -> None:
    """Raises Failure unless the graph has the one interface that every runner relies on."""
    height, width = size or ("height", "width")
    full = ("n", height, width)
    names = tuple(v.name for v in model.graph.output)
    logits = tensors(model).get("logits", (0, ()))
    if names != OUTPUTS or logits[0] != onnx.TensorProto.FLOAT or len(logits[1]) != 4:
        raise Failure(f"the exported graph answers {names}, wanted {OUTPUTS}, the last float32")
    check_model(
        model,
        {
            SEGMENTOR.input: (onnx.TensorProto.UINT8, (*full, *SEGMENTOR.channels)),
            "labels": (onnx.TensorProto.UINT8, full),
            "confidence": (onnx.TensorProto.UINT8, full),
        },
    )
