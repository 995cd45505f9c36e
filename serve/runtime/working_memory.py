"""How much ONNX Runtime works on at once on a CPU, and when it gives its memory back.

Its arena keeps what a run needed for the next one, since every page of new memory costs time. But
it keeps the most that was ever needed, and of frames of a new size twice what they need: the first
run allocates tensor by tensor, later ones a plan of them all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any

AT_ONCE = 2 << 20
"""Pixels that a graph works on at once where it is given a batch, and up to which the memory for
them is kept: those of a frame of 1024x2048."""
GIVE_BACK = ("memory.enable_memory_arena_shrinkage", "cpu:0")


class WorkingMemory:
    """Of one session: kept from run to run while inputs of one shape follow each other."""

    def __init__(self, ort: ModuleType) -> None:
        self._ort = ort
        self._last: tuple[int, ...] = ()

    def options(self, shape: Sequence[int]) -> Any:
        """ONNX Runtime's options for a run on an input of that shape: label maps [n,h,w] or frames.

        Its memory is given back afterwards, unless it fits the run before and is of usual size.
        """
        options = self._ort.RunOptions()
        shape = tuple(shape)
        channels = 3 if len(shape) == 4 else 1
        if shape != self._last or math.prod(shape) > channels * AT_ONCE:
            options.add_run_config_entry(*GIVE_BACK)
        self._last = shape
        return options
