"""ONNX Runtime on the CPU, as the exported graphs are checked with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime
import torch

from export.frames import Pixels
from roadshift import Failure, hxw
from serve.runtime.byte_products import keep_exact, told


class CpuSession:
    """An exported graph under ONNX Runtime on the CPU, with torch's number of threads."""

    name = f"onnxruntime {onnxruntime.__version__}, CPU{told()}"

    def __init__(self, graph: bytes) -> None:
        """`graph` is the file's content; Failure when the runtime does not load it."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        keep_exact(options, graph)
        try:
            self._session = onnxruntime.InferenceSession(
                graph, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the runtime's errors share no narrower class
            raise Failure(
                f"ONNX Runtime cannot load the exported graph: {first_line(error)}"
            ) from error

    def run(self, given: str, pixels: Pixels, outputs: Sequence[str]) -> list[torch.Tensor]:
        """The outputs for the input `given`, uint8 [n,h,w,...]; Failure where it cannot."""
        try:
            answers = self._session.run(outputs, {given: pixels})
        except Exception as error:  # as above
            raise Failure(
                f"the exported graph does not take {hxw(pixels.shape[1:3])} frames, which the "
                f"network takes: {first_line(error)}; give --size HxW"
            ) from error
        return [torch.from_numpy(np.asarray(answer)) for answer in answers]


def first_line(error: Exception) -> str:
    """An error's first line, or its class where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
