"""A torch module of uint8 pictures as one ONNX file: exported, cleaned, checked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import onnx
import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from export.frames import Size
from roadshift import Failure, UserError, hxw

OPSET = 18  # newer Resize and ArgMax run on the CPU in CUDA builds of ONNX Runtime
TRACED = (176, 304)  # nobody's camera: every size that is checked later is another one
Type: TypeAlias = tuple[int, tuple[int | str, ...]]
"""A tensor's element type, as ONNX numbers them, and its axes: a length, or a free one's name."""


def export_module(
    module: nn.Module,
    size: Size | None,
    channels: tuple[int, ...],
    names: tuple[str, Sequence[str]],
) -> onnx.ModelProto:
    """The graph of a module that takes uint8 [n,h,w,*channels], of `size` or of every size (None).

    `names` are those of its input and of its outputs. Raises Failure when torch cannot export the
    module.
    """
    program = _program(module, size, channels)
    if size is None:
        _refuse_baked_pooling(program)
    try:
        exported = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            external_data=False,
            input_names=[names[0]],
            output_names=names[1],
            verbose=False,
        )
    except RuntimeError as error:
        raise _not_exportable(error) from error
    assert exported is not None
    model = exported.model_proto
    _clean(model)
    return model


def describe(model: onnx.ModelProto, metadata: Mapping[str, Any]) -> None:
    """Puts JSON values into the file's properties."""
    onnx.helper.set_model_props(model, {key: json.dumps(v) for key, v in metadata.items()})


def smallest_size(min_size: Size, work_size: Size | None) -> Size:
    """Of the frames for which a graph is made: with a work size they are resized anyway.

    `min_size` is the network's own (height, width).
    """
    return min_size if work_size is None else (16, 16)


def check_size(size: Size | None, smallest: Size, what: str) -> None:
    """Raises UserError for a fixed `size` below the smallest that `what` takes."""
    if size is not None and (size[0] < smallest[0] or size[1] < smallest[1]):
        raise UserError(
            f"--size is {hxw(size)} and this {what} takes frames from "
            f"{hxw(smallest)} on: give a larger size"
        )


def check_model(model: onnx.ModelProto, wanted: Mapping[str, Type]) -> None:
    """Raises Failure unless the graph has the `wanted` tensors, in one file of the one opset."""
    found = tensors(model)
    for name, right in wanted.items():
        if found.get(name) != right:
            raise Failure(f"the exported graph's {name!r} is {found.get(name)}, wanted {right}")
    opsets = {(o.domain, o.version) for o in model.opset_import}
    if opsets != {("", OPSET)} or model.functions:
        raise Failure(f"the exported graph needs the operators {opsets}, wanted opset {OPSET} only")
    if any(t.data_location == onnx.TensorProto.EXTERNAL for t in model.graph.initializer):
        raise Failure("the exported graph keeps weights outside its file, wanted one file")
    onnx.checker.check_model(model, full_check=True)


def tensors(model: onnx.ModelProto) -> dict[str, Type]:
    """The graph's inputs and outputs by name."""
    return {v.name: _type(v) for v in (*model.graph.input, *model.graph.output)}


def _program(module: nn.Module, size: Size | None, channels: tuple[int, ...]) -> ExportedProgram:
    height, width = size or TRACED
    anything = Dim.DYNAMIC
    free = {0: anything} if size else {0: anything, 1: anything, 2: anything}
    # Two frames: torch takes an axis of length one for a constant.
    example = torch.zeros(2, height, width, *channels, dtype=torch.uint8)
    try:
        return torch.export.export(module, (example,), dynamic_shapes=(free,))
    except RuntimeError as error:
        raise _not_exportable(error) from error


def _refuse_baked_pooling(program: ExportedProgram) -> None:
    """torch.onnx makes the example's kernel a constant: other sizes come out wrong, silently.

    Where the pooled map has one size whatever the frame's, as behind a work size, that is right.
    """
    for node in program.graph.nodes:
        if "adaptive" not in str(node.target) or set(node.args[1]) == {1}:
            continue
        if not all(isinstance(n, int) for n in node.args[0].meta["val"].shape[2:]):
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


def _type(value: onnx.ValueInfoProto) -> Type:
    tensor = value.type.tensor_type
    return tensor.elem_type, tuple(axis.dim_param or axis.dim_value for axis in tensor.shape.dim)
