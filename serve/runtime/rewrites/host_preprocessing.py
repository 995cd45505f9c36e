"""The picture made ready on the host: bytes to resized float planes.

A graph with a work size begins with exactly that, at the full size of the frame and on a CPU in
several times the time that OpenCV takes. Where the resized planes come out of nothing but a
transpose, a cast and a bilinear resize, the rest of the graph is loaded alone and fed with them.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper
from onnx.utils import Extractor

PLAIN = {"mode": b"linear", "antialias": 0}
CENTRES = (b"half_pixel", b"pytorch_half_pixel")
BAND = 1 << 17
"""Pixels of the frame that are worked on at a time: 1.5 MB of floats."""


def without_front(model: onnx.ModelProto, size: tuple[int, int]) -> onnx.ModelProto | None:
    """The graph from the planes [n,3,h,w] of `size` (h, w) on, float32 or, in an fp16 graph,
    float16; None where it has no such place, or needs the frame behind it as well."""
    found = _planes(model.graph)
    if found is None:
        return None
    planes, kind = found
    whole = onnx.shape_inference.infer_shapes(model)
    others = [value for value in whole.graph.value_info if value.name != planes]
    del whole.graph.value_info[:]
    batch = whole.graph.input[0].type.tensor_type.shape.dim[0]
    shape = [batch.dim_param or batch.dim_value, 3, *size]
    whole.graph.value_info.extend([*others, helper.make_tensor_value_info(planes, kind, shape)])
    _ask_planes(whole.graph, planes)
    rest = Extractor(whole).extract_model([planes], [v.name for v in whole.graph.output])
    known = {planes, "", *(tensor.name for tensor in rest.graph.initializer)}
    known.update(name for node in rest.graph.node for name in node.output)
    needed = {name for node in rest.graph.node for name in node.input}
    return rest if needed <= known else None


def planes_of(images: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.float32]:
    """Images uint8 [n,h,w,3] -> float32 [n,3,*size] in 0..255, resized bilinearly about the
    pixels' centres, as the graph does it.

    Where both sides of an image are whole multiples of `size`, every centre lies equally between
    its pixels: then bands of rows, which stay in a core's cache, give the very numbers that the
    whole frame gives.
    """
    planes = np.empty((len(images), 3, *size), np.float32)
    for image, plane in zip(images, planes, strict=True):
        height, width = image.shape[:2]
        ratio = height // size[0]
        whole = height % size[0] or width % size[1]
        rows = size[0] if whole else max(1, BAND // (ratio * width))
        for y in range(0, size[0], rows):
            band = image if whole else image[y * ratio : (y + rows) * ratio]
            _resize(band, [channel[y : y + rows] for channel in plane])
    return planes


def _resize(image: NDArray[np.uint8], planes: list[NDArray[np.float32]]) -> None:
    """Writes an image [h,w,3] into three planes [hs,ws]."""
    size = planes[0].shape
    floats = image.astype(np.float32)
    if floats.shape[:2] != size:
        floats = cv2.resize(floats, size[::-1], interpolation=cv2.INTER_LINEAR)
    cv2.split(floats, planes)


def _planes(graph: onnx.GraphProto) -> tuple[str, int] | None:
    """The output of a resize that reads the cast, transposed frame, and that alone; its type."""
    image = graph.input[0].name
    moved = {n.output[0] for n in graph.node if n.op_type == "Transpose" and n.input[0] == image}
    casts = [n for n in graph.node if n.op_type == "Cast" and n.input[0] in moved]
    cast = {n.output[0]: helper.get_node_attr_value(n, "to") for n in casts}
    for node in graph.node:
        given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if (
            node.op_type == "Resize"
            and node.input[0] in cast
            and all(given.get(key, value) == value for key, value in PLAIN.items())
            and given.get("coordinate_transformation_mode", CENTRES[0]) in CENTRES
        ):
            return node.output[0], cast[node.input[0]]
    return None


def _ask_planes(graph: onnx.GraphProto, planes: str) -> None:
    """Lets those that ask the frame for its batch size ask the planes, which have the same."""
    image = graph.input[0].name
    for node in graph.node:
        asked: dict[str, Any] = {a.name: a.i for a in node.attribute}
        first_axis = asked.get("start", 0) == 0 and asked.get("end") == 1
        if node.op_type == "Shape" and node.input[0] == image and first_axis:
            node.input[0] = planes
