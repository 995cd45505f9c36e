"""TensorRT and CUDA, imported only where a plan is built or run, and saying what is missing.

Only names that TensorRT 10.3 to 11 all have are used, so there is one code path for all of them; a
test holds every name against the real bindings. None of it has run on a GPU of ours.
"""

from __future__ import annotations

import importlib
import logging
from typing import Any

from export.bundle.plan_file import numbers
from roadshift import Failure

OLDEST, NEWEST = (10, 3), 11
INSTALL = (
    "pip install tensorrt-cu12 beside CUDA 12, tensorrt-cu13 beside CUDA 13 (they fetch NVIDIA's "
    "libraries); on a Jetson it comes with JetPack, in the system's own Python: make the "
    "environment with python3 -m venv --system-site-packages"
)


def tensorrt() -> Any:
    """The module `tensorrt`; Failure where it is not installed, does not load, or is too old."""
    try:
        trt = importlib.import_module("tensorrt")
    except ModuleNotFoundError as error:
        raise Failure(f"TensorRT is not installed ({error}): {INSTALL}") from error
    except (ImportError, OSError) as error:
        raise Failure(f"TensorRT is installed and does not load ({error}): {INSTALL}") from error
    found = numbers(trt.__version__)
    if found[:2] < OLDEST or found[0] > NEWEST:
        raise Failure(
            f"this is TensorRT {trt.__version__}, and roadshift builds with 10.3 to {NEWEST}: "
            + (
                "install a newer one (JetPack 6.2 has 10.3)"
                if found[:2] < OLDEST
                else "install one of those, or a newer roadshift"
            )
        )
    return trt


def cudart() -> Any:
    """CUDA's runtime as `cuda.bindings.runtime`; Failure where it is not installed."""
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except (ImportError, OSError) as error:
        raise Failure(
            f"CUDA's Python bindings are not installed ({error}): pip install 'cuda-bindings<13' "
            "beside CUDA 12 (JetPack 6), pip install 'cuda-bindings>=13' beside CUDA 13"
        ) from error


def logger(trt: Any) -> Any:
    """A TensorRT logger that keeps the errors (`errors`, list of str) and logs the warnings."""
    ours = logging.getLogger(__name__)

    class Log(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # pybind11 wants its own to be called
            self.errors: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if severity in {trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR}:
                self.errors.append(msg)
            elif severity == trt.ILogger.Severity.WARNING:
                ours.warning("TensorRT: %s", msg)

    return Log()


def started(trt: Any, kind: Any, log: Any) -> Any:
    """TensorRT's Builder or Runtime (`kind`); Failure where it finds no GPU that it can use."""
    try:
        return kind(log)
    except TypeError as error:  # what the bindings raise for a null pointer
        raise Failure(
            f"TensorRT {trt.__version__} does not start on this machine: {reason(log)}; check the "
            "GPU and its driver with nvidia-smi"
        ) from error


def reason(log: Any) -> str:
    """What TensorRT said since the last time, the first error first."""
    said = "; ".join(map(str.strip, log.errors[:3])) or "it gave no reason"
    log.errors.clear()
    return said
