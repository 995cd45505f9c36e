"""What Triton is told of a model: its config.pbtxt, in protobuf's text format."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import onnx

LABELS = "labels.txt"
WARM_UP = "golden"
"""The raw bytes of one input, in the model's folder `warmup`."""
TYPES: dict[int, str] = {onnx.TensorProto.UINT8: "TYPE_UINT8", onnx.TensorProto.FLOAT: "TYPE_FP32"}
DELAY_US, TIMEOUT_US, QUEUE = 2_000, 1_000_000, 64
"""How long a frame waits for others, how long for its turn, and how many may wait."""
Value: TypeAlias = "str | int | bool | Word | Mapping[str, Value] | Sequence[Value]"


class Word(str):
    """An enumeration's member, written without quotes."""

    __slots__ = ()


class TritonTensor(NamedTuple):
    """A tensor as Triton names it: its shape has the batch's axis, -1 is free."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class TritonModel(NamedTuple):
    """A model of the repository; `batch` is the largest that Triton may form, 0: it forms none."""

    name: str
    platform: str
    given: TritonTensor
    answers: tuple[TritonTensor, ...]
    batch: int


def tensor(value: onnx.ValueInfoProto) -> TritonTensor:
    """A graph's input or output."""
    kind = value.type.tensor_type
    shape = (axis.dim_value if axis.HasField("dim_value") else -1 for axis in kind.shape.dim)
    return TritonTensor(value.name, TYPES[kind.elem_type], tuple(shape))


def config(model: TritonModel, warm_up: tuple[int, ...]) -> str:
    """The model's config.pbtxt; `warm_up` is the shape [h,w,...] of the input in its warm-up file.

    A full queue and a frame that waited too long are refused: an old frame is of no use to a car.
    """
    fields: dict[str, Value] = {
        "name": model.name,
        "platform": model.platform,
        "max_batch_size": model.batch,
        "input": [_tensor(model.given, model.batch)],
        "output": [
            _tensor(answer, model.batch)
            | ({"label_filename": LABELS} if answer.name == "labels" else {})
            for answer in model.answers
        ],
        "instance_group": [{"count": 1, "kind": Word("KIND_AUTO")}],
        "model_warmup": _warm_ups(model, warm_up),
    }
    if model.batch:
        policy: dict[str, Value] = {
            "timeout_action": Word("REJECT"),
            "default_timeout_microseconds": TIMEOUT_US,
            "allow_timeout_override": True,
            "max_queue_size": QUEUE,
        }
        fields["dynamic_batching"] = {
            "max_queue_delay_microseconds": DELAY_US,
            "default_queue_policy": policy,
        }
    return "".join(_lines(fields, ""))


def _tensor(about: TritonTensor, batch: int) -> dict[str, Value]:
    dims = about.shape[1:] if batch else about.shape
    return {"name": about.name, "data_type": Word(about.datatype), "dims": list(dims)}


def _warm_ups(model: TritonModel, shape: tuple[int, ...]) -> list[Value]:
    """One frame, and the largest batch: what is chosen or allocated per size is so beforehand."""
    given: dict[str, Value] = {
        "data_type": Word(model.given.datatype),
        "dims": list(shape if model.batch else (1, *shape)),
        "input_data_file": WARM_UP,
    }
    return [
        {
            "name": f"{WARM_UP} x{size}",
            "batch_size": size,
            "inputs": {"key": model.given.name, "value": given},
        }
        for size in sorted({1, model.batch or 1})
    ]


def _lines(fields: Mapping[str, Any], indent: str) -> list[str]:
    lines: list[str] = []
    for key, value in fields.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                lines += [f"{indent}{key} {{\n", *_lines(one, indent + "  "), f"{indent}}}\n"]
            else:
                lines.append(f"{indent}{key}: {_scalar(one)}\n")
    return lines


def _scalar(value: str | int | bool) -> str:
    if isinstance(value, Word | int):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return json.dumps(value, ensure_ascii=True)
