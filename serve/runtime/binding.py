"""A session on a GPU behind buffers that stay where they are.

A plain call allocates its tensors anew each time and a CUDA graph cannot be replayed on them. Here
every shape has one input and all of its outputs on the device; a call copies the request in, runs,
and copies each wanted output out once. The copies start from ordinary memory: ONNX Runtime 1.31
gives Python no page-locked memory for its built-in CUDA provider, and staging a request that
arrives in ordinary memory would copy it twice. On the CPU there is nothing to gain: 332 ms a call
without, 335 with.

Tested on the CPU provider; on an H200 golden frames came out of it (bench/results/gpu.md).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST = 4
"""Shapes whose buffers are kept; the one used least recently goes first."""
TYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}
# ONNX Runtime's word for "neither record nor replay a CUDA graph in this run".
NOT_CAPTURED = ("gpu_graph_id", "-1")


@dataclass(frozen=True)
class _Buffers:
    """What one shape is run in."""

    bound: Any
    given: Any
    answers: dict[str, Any]


class Binding:
    """Calls of one session, one at a time: the buffers are shared, so others wait.

    `device` is "cuda", or "cpu" in tests.
    """

    def __init__(self, ort: ModuleType, session: Any, device: str = "cuda") -> None:
        self._ort, self._session, self._device = ort, session, device
        self._input, self._outputs = session.get_inputs()[0].name, session.get_outputs()
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, ...], _Buffers] = OrderedDict()

    def __call__(self, values: NDArray[np.uint8], wanted: Sequence[str]) -> list[NDArray[Any]]:
        """The wanted outputs for an input; raises whatever ONNX Runtime does."""
        with self._lock:
            buffers = self._buffers(values)
            buffers.given.update_inplace(np.ascontiguousarray(values))
            self._session.run_with_iobinding(buffers.bound)
            buffers.bound.synchronize_outputs()
            return [_owned(buffers.answers[name].numpy()) for name in wanted]

    def _buffers(self, values: NDArray[np.uint8]) -> _Buffers:
        key = values.shape
        if key not in self._kept:
            while len(self._kept) >= MOST:  # before the new ones are made: memory is what is scarce
                self._kept.popitem(last=False)
            self._kept[key] = self._made(values)
        self._kept.move_to_end(key)
        return self._kept[key]

    def _made(self, values: NDArray[np.uint8]) -> _Buffers:
        bound, given = self._session.io_binding(), self._allocated(values.shape, np.uint8)
        bound.bind_ortvalue_input(self._input, given)
        # All outputs, whichever are wanted: a CUDA graph writes to where it was recorded.
        values_of = self._declared() or self._found(bound, given, values)
        answers = {spec.name: v for spec, v in zip(self._outputs, values_of, strict=True)}
        for name, value in answers.items():
            bound.bind_ortvalue_output(name, value)
        return _Buffers(bound, given, answers)

    def _declared(self) -> list[Any]:
        """Outputs of the sizes that the graph declares; nothing when it leaves one open."""
        if not all(isinstance(size, int) for spec in self._outputs for size in spec.shape):
            return []
        return [self._allocated(spec.shape, TYPES[spec.type]) for spec in self._outputs]

    def _found(self, bound: Any, given: Any, values: NDArray[np.uint8]) -> list[Any]:
        """Outputs of the sizes that one run gives them."""
        for spec in self._outputs:
            bound.bind_output(spec.name, self._device)
        given.update_inplace(np.ascontiguousarray(values))
        options = self._ort.RunOptions()
        options.add_run_config_entry(*NOT_CAPTURED)
        self._session.run_with_iobinding(bound, options)
        answers = list(bound.get_outputs())
        bound.clear_binding_outputs()
        return answers

    def _allocated(self, shape: Sequence[int], kind: Any) -> Any:
        return self._ort.OrtValue.ortvalue_from_shape_and_type(shape, kind, self._device, 0)


def _owned(found: NDArray[Any]) -> NDArray[Any]:
    """The array, or a copy where it is a view of a buffer, which the next call writes into."""
    return found if found.flags.owndata else found.copy()
