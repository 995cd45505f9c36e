"""What is in the bodies, as JSON Schema: the protocol's documents, and those of `as=json`."""

from __future__ import annotations

from typing import Any

from serve.protocol.inference_protocol import DIGEST
from serve.protocol.inference_tensors import DTYPES

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
MICROSECONDS: Schema = {"type": "integer", "minimum": 0, "maximum": (1 << 63) - 1}
PRIORITY: Schema = {"type": "integer", "enum": [0, 1, 2]}
BYTES: Schema = {"type": "string", "format": "binary"}
SIZE: Schema = {"type": "integer", "minimum": 1, "maximum": (1 << 31) - 1}
NUMBERS: Schema = {"type": "array", "description": "nested or flat, row after row"}


def ref(name: str) -> Schema:
    """A schema of SCHEMAS, by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def listed(items: Schema, **more: Any) -> Schema:
    """A list of those."""
    return {"type": "array", "items": items, **more}


def record(optional: Schema | None = None, /, **required: Schema) -> Schema:
    """An object with these members, and perhaps the `optional` ones; others are let pass."""
    properties = {**required, **(optional or {})}
    made: Schema = {"type": "object", "properties": properties}
    return made | ({"required": [*required]} if required else {})


_DATATYPE: Schema = {"type": "string", "enum": [*DTYPES]}
_DIMS = listed({"type": "integer", "minimum": -1})


def _tensor(data: Schema) -> Schema:
    """A tensor whose numbers are `data`, or bytes behind the JSON."""
    shared = {"name": TEXT, "datatype": _DATATYPE, "shape": listed(SIZE)}
    behind = record(binary_data_size=COUNT)
    return {"oneOf": [record(**shared, data=data), record(**shared, parameters=behind)]}


_TALLY = record(count=COUNT, ns=COUNT)
_CONFIG_TENSOR = record(name=TEXT, data_type=TEXT, dims=_DIMS)
_BINARY: Schema = {"type": "boolean", "description": "as bytes behind the JSON"}
_POSITION = listed({"type": "number"}, minItems=2, maxItems=2)

SCHEMAS: dict[str, Schema] = {
    "Error": record(error={"type": "string", "description": "one sentence: what to do"})
    | {"additionalProperties": False},
    "ServerMetadata": record(name=TEXT, version=TEXT, extensions=listed(TEXT)),
    "TensorMetadata": record(name=TEXT, datatype=_DATATYPE, shape=_DIMS),
    "ModelMetadata": record(
        name=TEXT,
        versions=listed(TEXT, minItems=1),
        platform=TEXT,
        inputs=listed(ref("TensorMetadata")),
        outputs=listed(ref("TensorMetadata")),
        parameters={"type": "object", "additionalProperties": TEXT},
    ),
    "ModelConfig": record(
        name=TEXT,
        platform=TEXT,
        backend=TEXT,
        max_batch_size=COUNT,
        input=listed(_CONFIG_TENSOR),
        output=listed(_CONFIG_TENSOR),
        parameters={"type": "object", "additionalProperties": record(string_value=TEXT)},
    ),
    "Statistics": record(
        model_stats=listed(
            record(
                name=TEXT,
                version=TEXT,
                last_inference=COUNT,
                inference_count=COUNT,
                execution_count=COUNT,
                inference_stats={"type": "object", "additionalProperties": _TALLY},
            )
        )
    ),
    "RepositoryIndex": listed(
        record(
            name=TEXT,
            version=TEXT,
            state={"type": "string", "enum": ["READY", "UNAVAILABLE"]},
            reason=TEXT,
        )
    ),
    "InferRequest": record(
        {
            "id": {"type": ["string", "null"]},
            "parameters": record(
                {
                    "timeout": {**MICROSECONDS, "description": "microseconds; 0: none"},
                    "priority": PRIORITY,
                    "binary_data_output": _BINARY,
                }
            ),
            "outputs": listed(
                record({"parameters": record({"binary_data": _BINARY})}, name=TEXT),
                description="all of the model's where there are none",
            ),
        },
        inputs=listed(_tensor({**NUMBERS, "minItems": 1}), minItems=1, maxItems=1),
    ),
    "InferResponse": record(
        {"id": TEXT},
        model_name=TEXT,
        model_version=TEXT,
        parameters=record(**{DIGEST: TEXT}),
        outputs=listed(_tensor(NUMBERS)),
    ),
    "Segmented": record(
        {"monitor": record(score={"type": "number"}, map=listed(listed({"type": "number"})))},
        model=TEXT,
        size=record(height=SIZE, width=SIZE),
        classes=listed(
            record(
                id=COUNT,
                name=TEXT,
                color=listed({**COUNT, "maximum": 255}, minItems=3, maxItems=3),
                share={"type": "number", "minimum": 0, "maximum": 1},
            )
        ),
        times=record(
            {"monitor_ms": {"type": "number"}},
            decode_ms={"type": "number"},
            engine_ms={"type": "number"},
        ),
    ),
    "Polygons": record(
        type={"const": "FeatureCollection"},
        features=listed(
            record(
                type={"const": "Feature"},
                properties=record(**{"class": COUNT, "name": TEXT}),
                geometry=record(
                    type={"const": "Polygon"},
                    coordinates=listed(listed(_POSITION, minItems=4), minItems=1),
                ),
            )
        ),
    ),
}
