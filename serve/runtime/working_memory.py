"""How much ONNX Runtime works on at once on a CPU, and when it gives its memory back.

Its arena keeps what a run needed for the next one, since every page of new memory costs time. But
it keeps the most that was ever needed, and of frames of a new size twice what they need: the first
run allocates tensor by tensor, later ones a plan of them all. An answer that is still in use holds
a whole region of it. So what is larger than usual runs without an arena.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any

AT_ONCE = 2 << 20
"""Pixels that a graph works on at once where it is given a batch, and usual ones in any case: those
of a frame of 1024x2048."""
GIVE_BACK = ("memory.enable_memory_arena_shrinkage", "cpu:0")


class WorkingMemory:
    """Of one session: kept from run to run while inputs of one shape follow each other.

    Inputs of up to `usual` pixels are for its arena.
    """

    def __init__(self, ort: ModuleType, usual: int) -> None:
        self._ort, self._usual = ort, max(usual, AT_ONCE)
        self._last: tuple[int, ...] = ()

    def is_usual(self, shape: Sequence[int]) -> bool:
        """Whether an input of that shape, label maps [n,h,w] or frames, is not too large for it."""
        return math.prod(shape) <= (3 if len(shape) == 4 else 1) * self._usual

    def options(self, shape: Sequence[int]) -> Any:
        """ONNX Runtime's options for a run on an input of that shape.

        Its memory is given back afterwards, unless the run before had the same shape.
        """
        options = self._ort.RunOptions()
        if tuple(shape) != self._last:
            options.add_run_config_entry(*GIVE_BACK)
        self._last = tuple(shape)
        return options
