"""An ONNX graph without the nodes that the wanted outputs do not need.

ONNX Runtime computes every node whichever outputs are asked for: its run option
`only_execute_path_to_fetches` works in training builds alone (microsoft/onnxruntime 16013). The
upsampled softmax behind "confidence" costs more than many networks, so it must not run for labels.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx
from onnx.utils import Extractor


def prune(model: bytes, wanted: Collection[str]) -> bytes:
    """The ONNX model with the wanted outputs only, and only the nodes that they need.

    Raises ValueError for a graph without such an output.
    """
    whole = onnx.load_from_string(model)
    inputs = [value.name for value in whole.graph.input]
    return Extractor(whole).extract_model(inputs, list(wanted)).SerializeToString()
