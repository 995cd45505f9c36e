"""Open Inference Protocol v2 with binary tensors: bytes to arrays and back, and nothing else.

https://github.com/kserve/open-inference-protocol and Triton's binary tensor data extension.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from serve.limits import Limits, Refusal
from serve.models.model_spec import ModelSpec
from serve.protocol.inference_tensors import DTYPES, from_bytes, read_inputs
from serve.protocol.json_checks import (
    a_list,
    an_object,
    flag,
    listing,
    load_json,
    refuse,
    short,
    whole,
)

DIGEST = "bundle_digest"
"""An answer's parameter: the digest of the bundle that it came of."""


class RequestedOutput(NamedTuple):
    """An output that a request asks for, and whether as raw bytes."""

    name: str
    binary: bool


class InferRequest(NamedTuple):
    """A request, checked: its tensors have the types and shapes that the model takes."""

    id: str | None
    inputs: dict[str, NDArray[Any]]
    outputs: tuple[RequestedOutput, ...]
    timeout: float | None
    """Seconds within which the model must have begun, or None."""
    first: bool
    """Whether it comes before others that wait."""


def parse_request(
    body: bytes, json_length: int | None, model: ModelSpec, limits: Limits
) -> InferRequest:
    """The request in `body`, whose first `json_length` bytes are JSON (None: all of it; 0: none).

    Raises Refusal: 400 for what the protocol or the model does not allow, 413 for too much JSON.
    """
    if json_length == 0:
        return _raw_request(body, model)
    if json_length is not None and not 0 < json_length <= len(body):
        refuse(f"Inference-Header-Content-Length is {json_length} and the body has {len(body)}")
    head = body if json_length is None else body[:json_length]
    if len(head) > limits.json_bytes:
        raise Refusal(
            413,
            f"the JSON part has {len(head)} bytes; at most {limits.json_bytes} are read: send the "
            "tensor as binary data (set_data_from_numpy(..., binary_data=True))",
        )
    document = an_object(load_json(head), "the request")
    return read_request(document, memoryview(body)[len(head) :], model)


def read_request(document: dict[str, Any], tail: memoryview, model: ModelSpec) -> InferRequest:
    """The request in a JSON `document`, whose binary tensors are in `tail`.

    Raises Refusal 400 for what the protocol or the model does not allow.
    """
    parameters = an_object(document.get("parameters", {}), "parameters")
    request_id = document.get("id")
    if request_id is not None and not isinstance(request_id, str):
        refuse("the id is not a string")
    inputs = read_inputs(document, tail, model.inputs)
    outputs = _outputs(document, parameters, model)
    first = is_first(parameters.get("priority", 0))
    return InferRequest(request_id, inputs, outputs, _timeout(parameters), first)


def encode_response(
    model: ModelSpec,
    request: InferRequest,
    tensors: Mapping[str, NDArray[Any]],
    max_json_values: int,
) -> tuple[bytes, int | None]:
    """The body of the answer, and the length of its JSON part (None when it has no binary tensor).

    Raises Refusal 400 for more than `max_json_values` numbers as JSON.
    """
    values = sum(tensors[wanted.name].size for wanted in request.outputs if not wanted.binary)
    if values > max_json_values:
        refuse(
            f"the answer has {values} numbers as JSON; at most {max_json_values} are sent: "
            "ask for binary_data, or for fewer outputs"
        )
    outputs: list[dict[str, Any]] = []
    tails: list[bytes] = []
    datatypes = {spec.name: spec.datatype for spec in model.outputs}
    for name, binary in request.outputs:
        array = np.ascontiguousarray(tensors[name], DTYPES[datatypes[name]])
        output: dict[str, Any] = {
            "name": name,
            "datatype": datatypes[name],
            "shape": list(array.shape),
        }
        if binary:
            tails.append(array.tobytes())
            output["parameters"] = {"binary_data_size": len(tails[-1])}
        else:
            output["data"] = array.ravel().tolist()
        outputs.append(output)
    document: dict[str, Any] = {
        "model_name": model.name,
        "model_version": model.version,
        "parameters": {DIGEST: model.digest},
    }
    if request.id is not None:
        document["id"] = request.id
    head = json.dumps({**document, "outputs": outputs}, allow_nan=False).encode()
    return b"".join([head, *tails]), len(head) if tails else None


def is_first(priority: Any) -> bool:
    """Whether a request of that priority comes before others: 1 is first, 2 and 0 (none is said)
    are not, as with Triton's `priority_levels: 2`. Refusal 400 for another."""
    if not whole(priority) or priority not in (0, 1, 2):
        refuse(f"the priority is {short(priority)}; wanted 1 (first) or 2, or 0 for 2")
    return priority == 1


def _raw_request(body: bytes, model: ModelSpec) -> InferRequest:
    """The raw mode: the whole body is the one input, of a shape that must be known."""
    spec = model.inputs[0]
    shape = (1, *spec.shape[1:])
    if min(shape) < 0:
        refuse(
            "a raw body (Inference-Header-Content-Length: 0) says no shape, and this model takes "
            "several: send the JSON header with the shape"
        )
    array = from_bytes(memoryview(body), spec.name, spec.datatype, shape)
    wanted = tuple(RequestedOutput(output.name, True) for output in model.outputs)
    return InferRequest(None, {spec.name: array}, wanted, None, False)


def _outputs(
    document: dict[str, Any], parameters: dict[str, Any], model: ModelSpec
) -> tuple[RequestedOutput, ...]:
    default = flag(parameters, "binary_data_output", False)
    known = [spec.name for spec in model.outputs]
    if not document.get("outputs"):
        return tuple(RequestedOutput(name, default) for name in known)
    wanted: list[RequestedOutput] = []
    for item in a_list(document["outputs"], "outputs"):
        output = an_object(item, "an output")
        options = an_object(output.get("parameters", {}), "an output's parameters")
        name = output.get("name")
        if name not in known or name in [w.name for w in wanted]:
            refuse(f"unknown or repeated output {short(name)}: this model gives {listing(known)}")
        if strange := options.keys() & {"classification", "shared_memory_region"}:
            refuse(f"output {name!r}: {listing(strange)} is not supported by this server")
        wanted.append(RequestedOutput(cast(str, name), flag(options, "binary_data", default)))
    return tuple(wanted)


def _timeout(parameters: dict[str, Any]) -> float | None:
    value = parameters.get("timeout")
    if value is None or value == 0:  # Triton's clients send 0 for "none"
        return None
    if not whole(value) or not 0 <= value < 1 << 63:
        refuse(f"the timeout is {short(value)}; wanted a whole number of microseconds")
    return value / 1e6
