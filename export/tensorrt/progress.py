"""TensorRT's progress, phase by phase, for whoever shows it; and a build that Ctrl-C stops."""

from __future__ import annotations

import threading
from typing import Any, Protocol


class Shown(Protocol):
    """What shows a phase: called from several of TensorRT's threads at once, and must not raise."""

    def __call__(self, phase: str, done: int, total: int) -> None:
        """`done` of `total` steps of that phase are over; all of them when the phase is."""
        ...


def monitor(trt: Any, show: Shown) -> Any:
    """TensorRT's progress monitor; `interrupted` tells whether Ctrl-C ended the build."""

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)  # as for the logger
            self.interrupted = False
            self._lock = threading.Lock()
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            del parent_phase
            with self._lock:
                self._steps[phase_name] = num_steps
            self._tell(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._tell(phase_name, step + 1, self._steps.get(phase_name, step + 1))
            return not self.interrupted

        def phase_finish(self, phase_name: str) -> None:
            with self._lock:
                steps = self._steps.pop(phase_name, 1)
            self._tell(phase_name, steps, steps)

        def _tell(self, phase: str, done: int, total: int) -> None:
            try:
                show(phase, done, total)
            except KeyboardInterrupt:  # nothing may be raised through TensorRT's C++ frames
                self.interrupted = True

    return Monitor()
