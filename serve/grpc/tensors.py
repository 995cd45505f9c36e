"""The protocol's messages to arrays and back; their checks are those of the protocol's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from serve.limits import Limits
from serve.models.model_spec import ModelSpec
from serve.protocol.inference_protocol import DIGEST, InferRequest, read_request
from serve.protocol.inference_tensors import DTYPES
from serve.protocol.json_checks import refuse

messages: Any = service_pb2
_CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}


def read_message(message: Any, model: ModelSpec, limits: Limits) -> InferRequest:
    """The request in a ModelInferRequest.

    Raises Refusal 400 for what the protocol or the model does not allow.
    """
    raw = list(message.raw_input_contents)
    if raw and len(raw) != len(message.inputs):
        refuse(f"raw_input_contents has {len(raw)} tensors and inputs {len(message.inputs)}")
    inputs: list[dict[str, Any]] = []
    for i, tensor in enumerate(message.inputs):
        shared = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
        if raw:
            inputs.append({**shared, "parameters": {"binary_data_size": len(raw[i])}})
            continue
        values = getattr(tensor.contents, _CONTENTS.get(tensor.datatype, "bytes_contents"))
        if len(values) > limits.json_values:
            refuse(
                f"input {tensor.name!r} has {len(values)} numbers in its contents; at most "
                f"{limits.json_values} are read there: send raw_input_contents"
            )
        inputs.append({**shared, "data": list(values)})
    document: dict[str, Any] = {
        "inputs": inputs,
        "outputs": [
            {"name": output.name, "parameters": _parameters(output.parameters)}
            for output in message.outputs
        ],
        "parameters": _parameters(message.parameters),
    }
    if message.id:
        document["id"] = message.id
    # Nearly always there is one, which need not be copied.
    return read_request(document, memoryview(raw[0] if len(raw) == 1 else b"".join(raw)), model)


def write_message(
    model: ModelSpec, request: InferRequest, tensors: Mapping[str, NDArray[Any]]
) -> Any:
    """The ModelInferResponse of those outputs, as raw bytes."""
    response = messages.ModelInferResponse(
        model_name=model.name, model_version=model.version, id=request.id or ""
    )
    response.parameters[DIGEST].string_param = model.digest
    datatypes = {spec.name: spec.datatype for spec in model.outputs}
    for name, _ in request.outputs:
        datatype = datatypes[name]
        array = np.ascontiguousarray(tensors[name], DTYPES[datatype])
        response.outputs.add(name=name, datatype=datatype, shape=array.shape)
        response.raw_output_contents.append(array.tobytes())
    return response


def _parameters(given: Any) -> dict[str, Any]:
    return {
        name: getattr(value, value.WhichOneof("parameter_choice") or "string_param")
        for name, value in given.items()
    }
