"""Where the network runs, as an option of several commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cyclopts import Parameter

from export.bundle.graphs import Precision

Flat = Parameter(name="*")
"""Options of a class, on the command line as if they were the command's own."""


@dataclass(frozen=True, kw_only=True)
class DeviceOptions:
    """Where the network runs; there is no falling back to another provider."""

    provider: Literal["cpu", "cuda", "tensorrt"] = "cpu"
    """What runs it: the CPU, CUDA, or TensorRT through ONNX Runtime."""
    precision: Precision = "fp32"
    """Which of the bundle's segmentors: in 32-bit or 16-bit floats, or 8-bit integers."""
    route: Literal["auto", "exact", "dense"] = "auto"
    """Where labels become full-size: the host's exact shortcut, or densely in the graph. They are
    equal but for ties within rounding."""
    threads: int = 0
    """CPU threads for one call; 0: one a core."""
