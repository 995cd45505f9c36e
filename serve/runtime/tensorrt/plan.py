"""Arrays in, arrays out: a TensorRT plan, checked against its page and its bundle before it runs.

A plan is machine code. One that is version compatible also brings code for the host, which TensorRT
runs only when it is told to trust it: here exactly when the plan's page says that it was built so.
Load plans only from whom you would run a program from. Not run on a GPU by us, see
serve.runtime.tensorrt.execution.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.bundle import Bundle
from export.bundle.graphs import GRAPHS, LOGITS
from export.bundle.plan_file import Sidecar, check_fits, read_plan
from roadshift import UserError
from serve.runtime.exact_labels.labels import labels_at
from serve.runtime.tensorrt import golden_check
from serve.runtime.tensorrt.bindings import tensorrt
from serve.runtime.tensorrt.cuda import Cuda
from serve.runtime.tensorrt.execution import Execution


class Plan:
    """A plan on the GPU at hand; its methods may be called from several threads at once.

    Raises UserError when the plan is not of this bundle, this GPU or this TensorRT, Failure when
    TensorRT or CUDA is missing or gives up. `capture` replays each call as a CUDA graph where the
    plan allows it. `threads` is how many CPU threads take labels from logits (0: one a core).
    """

    def __init__(
        self,
        plan: bytes,
        sidecar: Sidecar,
        bundle: Bundle,
        *,
        capture: bool = True,
        threads: int = 0,
    ) -> None:
        self.sidecar, self.bundle = sidecar, bundle
        self._threads, self._lock = threads, threading.Lock()
        trt = tensorrt()
        check_fits(sidecar, bundle, Cuda().device(), trt.__version__)
        self._execution = Execution(trt, plan, trusted=sidecar.version_compatible, capture=capture)

    @classmethod
    def open(cls, path: Path, bundle: Bundle, *, capture: bool = True, threads: int = 0) -> Plan:
        """The plan in the file, its page beside it; UserError for a damaged or missing one."""
        return cls(*read_plan(path), bundle, capture=capture, threads=threads)

    @property
    def name(self) -> str:
        """What a server calls it."""
        return GRAPHS[self.sidecar.graph].served_name(self.bundle.name)

    @property
    def captured(self) -> bool:
        """Whether the last call was a CUDA graph."""
        return self._execution.captured

    def check(self, shape: Sequence[int]) -> None:
        """Raises UserError unless an input of this shape ([n,h,w] or [n,h,w,3]) fits the plan."""
        page = self.sidecar
        wanted = (*page.size, *GRAPHS[page.graph].channels)
        if tuple(shape[1:]) != wanted or not 1 <= shape[0] <= page.batch:
            axes = ",".join(map(str, wanted))
            raise UserError(
                f"this plan takes uint8 [n,{axes}], n from 1 to {page.batch}, got {list(shape)}: "
                f"resize or split it, or build another plan (roadshift engine {self.bundle.folder} "
                "--size HxW --batch N)"
            )

    def run(self, values: NDArray[np.uint8], wanted: Sequence[str]) -> dict[str, NDArray[Any]]:
        """The named outputs for an input uint8 [n,h,w] or [n,h,w,3].

        A plan of logits gives "labels" too, finished on the CPU. Raises UserError for an input or
        an output that the plan does not have, Failure when the device gives up.
        """
        self.check(values.shape)
        output = self.sidecar.output
        known = {output, "labels"} if output == LOGITS else {output}
        if strange := set(wanted) - known:
            raise UserError(
                f"this plan gives {', '.join(sorted(known))}, not {', '.join(sorted(strange))}: "
                "run the bundle on ONNX Runtime, or build a plan of that output"
            )
        with self._lock:
            answers = {output: self._execution(values)}
        if output == LOGITS and "labels" in wanted:
            size, corners = self.sidecar.size, self.bundle.align_corners
            answers["labels"] = labels_at(answers[LOGITS], size, corners, self._threads)
        return {name: answers[name] for name in wanted}

    def check_golden(self) -> dict[str, Any]:
        """How the golden frames come out, see `golden_check.verify`; Failure for badly."""
        page = self.sidecar
        return golden_check.verify(self, self.bundle, page.graph, page.precision, page.size)

    def close(self) -> None:
        """Gives all memory back; the plan cannot run any more."""
        with self._lock:
            self._execution.close()
