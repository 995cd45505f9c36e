"""A part of a graph under ONNX Runtime on the CPU, one frame at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from export.precision.graph_index import replace_nodes
from roadshift import UserError, hxw

Pixels = NDArray[np.uint8]


class PartialSession:
    """The part of a graph that `outputs` need, with `nodes` behind it, under ONNX Runtime."""

    def __init__(
        self, model: onnx.ModelProto, outputs: Sequence[str], nodes: Sequence[NodeProto] = ()
    ) -> None:
        part = onnx.ModelProto()
        part.CopyFrom(model)
        graph, needed = part.graph, set(outputs)
        kept = list[NodeProto]()
        for node in reversed([*graph.node, *nodes]):
            if needed.intersection(node.output):
                needed.update(node.input)
                kept.append(node)
        del graph.output[:]
        graph.output.extend(
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs
        )
        replace_nodes(graph, reversed(kept))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._outputs = list(outputs)
        self._session = onnxruntime.InferenceSession(
            part.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._input = graph.input[0].name

    def __call__(self, frame: Pixels) -> list[NDArray[np.float32]]:
        """[h,w,3] -> the outputs; UserError where the graph does not take the frame."""
        try:
            answers = self._session.run(self._outputs, {self._input: frame[None]})
        except Exception as error:  # the runtime's errors share no narrower class
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise UserError(
                f"the graph does not take a calibration frame of {hxw(frame.shape[:2])}: "
                f"{reason}; give larger frames"
            ) from error
        return [np.asarray(answer) for answer in answers]
