"""The whole deployed function as one module, and that module as one ONNX graph."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import onnx
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn.functional import interpolate

from adapt.evaluate import logits_of
from adapt.networks.segmentor import Segmentor
from roadshift import Failure, UserError

OPSET = 18  # newer Resize and ArgMax run on the CPU in CUDA builds of ONNX Runtime
TRACED = (176, 304)  # nobody's camera: every size that is checked later is another one
INPUT = "image"
OUTPUTS = ("labels", "confidence", "logits")
Size = tuple[int, int]


class Answer(NamedTuple):
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

    def forward(self, image: Tensor) -> Answer:
        """RGB uint8 [n,h,w,3] -> labels and confidence, uint8 [n,h,w], and logits.

        The confidence is the largest softmax probability times 255, rounded.
        """
        logits = logits_of(self.segmentor, image, self.work_size)
        size = (image.shape[1], image.shape[2])
        full = interpolate(logits, size=size, mode="bilinear", align_corners=self.align_corners)
        # The same number as softmax(1).amax(1), in an eighth of the time under ONNX Runtime.
        confidence = 1 / (full - full.amax(1, keepdim=True)).exp().sum(1)
        return Answer(
            full.argmax(1).to(torch.uint8), (confidence * 255).round().to(torch.uint8), logits
        )


def smallest_size(segmentor: Segmentor, work_size: Size | None) -> Size:
    """The smallest (height, width) of frames for which a bundle is made."""
    return segmentor.min_size if work_size is None else (16, 16)


def to_onnx(deployed: Deployed, size: Size | None, metadata: Mapping[str, Any]) -> onnx.ModelProto:
    """The graph for frames of `size` (height, width), or of every size when None.

    `metadata` (JSON values) travels in the file's properties. Raises UserError for a size below the
    network's smallest, Failure when torch cannot export the network or the graph is not as it
    should be.
    """
    smallest = smallest_size(deployed.segmentor, deployed.work_size)
    if size is not None and (size[0] < smallest[0] or size[1] < smallest[1]):
        raise UserError(
            f"--size is {size[0]}x{size[1]} and this network takes frames from "
            f"{smallest[0]}x{smallest[1]} on: give a larger size"
        )
    program = _program(deployed, size)
    if size is None:
        _refuse_baked_pooling(program)
    try:
        exported = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            external_data=False,
            input_names=[INPUT],
            output_names=OUTPUTS,
            verbose=False,
        )
    except RuntimeError as error:
        raise _not_exportable(error) from error
    assert exported is not None
    model = exported.model_proto
    _clean(model)
    onnx.helper.set_model_props(model, {key: json.dumps(v) for key, v in metadata.items()})
    check_graph(model, size)
    return model


def check_graph(model: onnx.ModelProto, size: Size | None) -> None:
    """Raises Failure unless the graph has the one interface that every runner relies on."""
    height, width = size or ("height", "width")
    full = ("n", height, width)
    wanted = {
        INPUT: (onnx.TensorProto.UINT8, (*full, 3)),
        "labels": (onnx.TensorProto.UINT8, full),
        "confidence": (onnx.TensorProto.UINT8, full),
    }
    found = {v.name: _type(v) for v in (*model.graph.input, *model.graph.output)}
    for name, right in wanted.items():
        if found.get(name) != right:
            raise Failure(f"the exported graph's {name!r} is {found.get(name)}, wanted {right}")
    names = tuple(v.name for v in model.graph.output)
    logits = found.get("logits", (0, ()))
    if names != OUTPUTS or logits[0] != onnx.TensorProto.FLOAT or len(logits[1]) != 4:
        raise Failure(f"the exported graph answers {names}, wanted {OUTPUTS}, the last float32")
    opsets = {(o.domain, o.version) for o in model.opset_import}
    if opsets != {("", OPSET)} or model.functions:
        raise Failure(f"the exported graph needs the operators {opsets}, wanted opset {OPSET} only")
    if any(t.data_location == onnx.TensorProto.EXTERNAL for t in model.graph.initializer):
        raise Failure("the exported graph keeps weights outside its file, wanted one file")
    onnx.checker.check_model(model, full_check=True)


def _program(deployed: Deployed, size: Size | None) -> ExportedProgram:
    height, width = size or TRACED
    anything = Dim.DYNAMIC
    free = {0: anything} if size else {0: anything, 1: anything, 2: anything}
    # Two frames: torch takes an axis of length one for a constant.
    example = torch.zeros(2, height, width, 3, dtype=torch.uint8)
    try:
        return torch.export.export(deployed, (example,), dynamic_shapes=(free,))
    except RuntimeError as error:
        raise _not_exportable(error) from error


def _refuse_baked_pooling(program: ExportedProgram) -> None:
    """torch.onnx makes the example's kernel a constant: other sizes come out wrong, silently."""
    for node in program.graph.nodes:
        if "adaptive" in str(node.target) and set(node.args[1]) != {1}:
            raise Failure(
                f"the network pools adaptively to {tuple(node.args[1])}, which ONNX has only for "
                "one size of frame: give --size HxW"
            )


def _not_exportable(error: Exception) -> Failure:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return Failure(f"torch could not export the network to ONNX: {lines[0] if lines else error}")


def _clean(model: onnx.ModelProto) -> None:
    """Readable names for the free axes, and nothing of the machine that exported."""
    graph = model.graph
    for value in (*graph.input, *graph.output):
        names = ("n", "channel", "h", "w") if value.name == "logits" else ("n", "height", "width")
        for name, axis in zip(names, value.type.tensor_type.shape.dim, strict=False):
            if axis.dim_param:
                axis.dim_param = name
    del graph.value_info[:]  # they name the axes as torch did, and every reader infers them
    for node in graph.node:  # the stack traces hold paths
        del node.metadata_props[:]
        node.doc_string = ""


def _type(value: onnx.ValueInfoProto) -> tuple[int, tuple[int | str, ...]]:
    tensor = value.type.tensor_type
    return tensor.elem_type, tuple(axis.dim_param or axis.dim_value for axis in tensor.shape.dim)
