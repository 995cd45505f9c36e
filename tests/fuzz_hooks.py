"""What no schema says, for schemathesis: what an image is, and tensors that fill their shape."""

from __future__ import annotations

import json
import os
from typing import Any

import cv2
import numpy as np
import schemathesis
from hypothesis import strategies as st

LENGTH = "Inference-Header-Content-Length"
ENDINGS = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp"}


@st.composite
def images(draw: st.DrawFn, ending: str) -> bytes:
    """A file of noise, of a size that the bundle takes."""
    size = draw(st.integers(8, 40)), draw(st.integers(8, 40))
    channels = draw(st.sampled_from([(), (3,)]))
    seed = draw(st.integers(0, 99))
    noise = np.random.default_rng(seed).integers(0, 256, (*size, *channels), dtype=np.uint8)
    return cv2.imencode(ending, noise)[1].tobytes()


@st.composite
def damaged(draw: st.DrawFn, files: st.SearchStrategy[bytes]) -> bytes:
    """A file that was cut off, or has other bytes in some places; or just bytes."""
    data = bytearray(draw(files))
    how = draw(st.sampled_from(["cut", "changed", "bytes"]))
    if how == "cut":
        return bytes(data[: draw(st.integers(0, len(data)))])
    if how == "bytes":
        return draw(st.binary(max_size=200))
    places = st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255))
    for place, value in draw(st.lists(places, min_size=1, max_size=8)):
        data[place] = value
    return bytes(data)


for kind, ending in (*ENDINGS.items(), ("application/octet-stream", ".png")):
    whole = images(ending)
    files = damaged(whole) if "FUZZ_DAMAGED" in os.environ else whole
    schemathesis.openapi.media_type(kind, files)


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """Where all is to be right, JPEG is asked for of overlays alone."""
    query = case.query or {}
    positive = case.meta is None or case.meta.generation.mode.is_positive
    return not positive or query.get("format") != "jpeg" or "overlay" in str(query.get("as", ""))


@schemathesis.hook.apply_to(path_regex="/infer$")
def flatmap_case(context: Any, case: Any) -> st.SearchStrategy[Any]:
    """Two thirds of what is to be right are so, as JSON or as bytes."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return st.just(case)
    if "FUZZ_DAMAGED" in os.environ and case.media_type == "application/octet-stream":
        return st.just(case)
    right = tensors().map(lambda made: sent(case, *made))
    return st.one_of(right, st.just(case), right)


@st.composite
def tensors(draw: st.DrawFn) -> tuple[dict[str, Any], bytes, bool]:
    """A request for the model, its image's bytes, and whether those are to be sent as such."""
    shape = [draw(st.integers(1, 2)), draw(st.integers(8, 20)), draw(st.integers(8, 20)), 3]
    values = np.random.default_rng(draw(st.integers(0, 99))).bytes(int(np.prod(shape)))
    wanted = draw(st.lists(st.sampled_from(["labels", "confidence", "logits"]), unique=True))
    timeout = draw(st.sampled_from([0, 1, 1_000, 10_000_000]))
    parameters = {"timeout": timeout, "priority": draw(st.integers(0, 2))}
    tensor = {"name": "image", "datatype": "UINT8", "shape": shape}
    request = {"inputs": [tensor], "parameters": parameters}
    if wanted:
        binary = {"binary_data": draw(st.booleans())}
        request["outputs"] = [{"name": name, "parameters": binary} for name in wanted]
    return request, values, draw(st.booleans())


def sent(case: Any, request: dict[str, Any], values: bytes, binary: bool) -> Any:
    tensor = request["inputs"][0]
    headers = {name: value for name, value in (case.headers or {}).items() if name != LENGTH}
    if binary:
        tensor["parameters"] = {"binary_data_size": len(values)}
        head = json.dumps(request).encode()
        case.body, case.media_type = head + values, "application/octet-stream"
        headers[LENGTH] = str(len(head))
    else:
        tensor["data"] = [*values]
        case.body, case.media_type = request, "application/json"
    case.headers = headers
    return case


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """What was unloaded comes back, or there would be nothing left to ask for."""
    if case.operation.label.endswith("/unload") and response.status_code == 200:
        case.operation.schema["/v2/repository/models/{model}/load"]["POST"].Case(
            path_parameters={"model": "tiny"}
        ).call()
