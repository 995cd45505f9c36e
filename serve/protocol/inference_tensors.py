"""One request's tensors of the Open Inference Protocol, from JSON numbers or from raw bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.protocol.json_checks import a_list, an_object, listing, refuse, short, whole
from serve.runtime.graph import TensorSpec

DTYPES = {
    "BOOL": np.dtype("?"),
    **{f"UINT{8 * n}": np.dtype(f"<u{n}") for n in (1, 2, 4, 8)},
    **{f"INT{8 * n}": np.dtype(f"<i{n}") for n in (1, 2, 4, 8)},
    **{f"FP{8 * n}": np.dtype(f"<f{n}") for n in (2, 4, 8)},
}


def read_inputs(
    document: dict[str, Any], tail: memoryview, specs: Sequence[TensorSpec]
) -> dict[str, NDArray[Any]]:
    """The tensors of a request by name: in its JSON, or in `tail`, in the order of the JSON."""
    known = {spec.name: spec for spec in specs}
    found: dict[str, NDArray[Any]] = {}
    for item in a_list(document.get("inputs"), "inputs"):
        tensor = an_object(item, "an input")
        spec = known.get(str(tensor.get("name")))
        if spec is None or spec.name in found:
            refuse(
                f"unknown or repeated input {short(tensor.get('name'))}: wanted {listing(known)}"
            )
        shape = _shape(tensor, spec)
        size = an_object(tensor.get("parameters", {}), "an input's parameters").get(
            "binary_data_size"
        )
        if size is None:
            found[spec.name] = _from_json(tensor.get("data"), spec, shape)
        elif "data" in tensor or not whole(size) or size > len(tail):
            refuse(
                f"input {spec.name!r}: binary_data_size {short(size)} does not go with {len(tail)}"
                " bytes behind the JSON part, or stands beside 'data'"
            )
        else:
            found[spec.name] = from_bytes(tail[:size], spec.name, spec.datatype, shape)
            tail = tail[size:]
    if missing := known.keys() - found.keys():
        refuse(f"the request lacks the input {listing(missing)}")
    if len(tail):
        refuse(f"{len(tail)} bytes behind the last binary tensor belong to no input")
    return found


def from_bytes(data: memoryview, name: str, datatype: str, shape: Sequence[int]) -> NDArray[Any]:
    """A little-endian, row-major tensor that must fill `data`, without copying it."""
    dtype = DTYPES[datatype]
    wanted = math.prod(shape) * dtype.itemsize
    if len(data) != wanted:
        refuse(
            f"input {name!r} of shape {list(shape)} and datatype {datatype} has {len(data)} bytes; "
            f"wanted {wanted}"
        )
    return np.frombuffer(data, dtype).reshape(shape)


def _shape(tensor: dict[str, Any], spec: TensorSpec) -> tuple[int, ...]:
    if tensor.get("datatype") != spec.datatype:
        refuse(
            f"input {spec.name!r} has datatype {short(tensor.get('datatype'))}; "
            f"wanted {spec.datatype}"
        )
    shape = tensor.get("shape")
    if (
        not isinstance(shape, list)
        or len(shape) != len(spec.shape)
        or not all(whole(n) and 0 < n < 1 << 31 for n in shape)
        or any(-1 != want != got for got, want in zip(shape, spec.shape, strict=True))
    ):
        refuse(
            f"input {spec.name!r} has shape {short(shape)}; wanted {list(spec.shape)} "
            "(-1: any size from 1 on)"
        )
    return tuple(shape)


def _from_json(data: Any, spec: TensorSpec, shape: tuple[int, ...]) -> NDArray[Any]:
    """Nested or flat, as the protocol allows."""
    dtype, count = DTYPES[spec.datatype], math.prod(shape)
    try:
        array = np.asarray(a_list(data, f"data of input {spec.name!r}"))
    except (ValueError, OverflowError):
        refuse(f"input {spec.name!r}: 'data' is ragged or holds more than numbers")
    if array.size != count or array.shape not in ((count,), shape):
        refuse(
            f"input {spec.name!r}: 'data' has shape {list(array.shape)}; wanted {list(shape)}, "
            f"nested or flat"
        )
    kinds = {"b": "b", "u": "ui", "i": "ui", "f": "uif"}[dtype.kind]
    if array.dtype.kind not in kinds:
        refuse(f"input {spec.name!r}: 'data' does not hold values of datatype {spec.datatype}")
    values = array.astype(dtype)
    if dtype.kind in "ui" and not np.array_equal(values, array):
        refuse(f"input {spec.name!r}: 'data' holds values outside the range of {spec.datatype}")
    return values.reshape(shape)
