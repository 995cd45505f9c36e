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
    return pruned(onnx.load_from_string(model), wanted).SerializeToString()


def pruned(model: onnx.ModelProto, wanted: Collection[str]) -> onnx.ModelProto:
    """Like `prune`, of a model that is read already; that one stays as it is."""
    inputs = [value.name for value in model.graph.input]
    return Extractor(model).extract_model(inputs, list(wanted))
