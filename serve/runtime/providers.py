"""ONNX Runtime's providers: their names, the order they are asked in, and their options.

CUDA's ran on an H200 (bench/results/gpu.md), TensorRT's on no GPU of ours: the names of its options
were checked against the runtime's sources.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from roadshift import Failure, UserError

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
ProviderOptions = dict[str, str]


def check_computes(provider: str, precision: str) -> None:
    """Raises UserError for a precision that a provider would only imitate."""
    if not computes(provider, precision):
        raise UserError(
            "int8 on --provider cuda: ONNX Runtime has no INT8 kernels there and would compute in "
            "floats between conversions, slower than fp32; use fp16 or fp32, or --provider "
            "tensorrt, or build a plan (roadshift engine)"
        )


def computes(provider: str, precision: str) -> bool:
    """Whether a provider computes in a precision: CUDA has no kernels for INT8, and imitates it."""
    return (provider, precision) != ("cuda", "int8")


def chain(provider: str, graph: bytes, capture: bool) -> list[tuple[str, ProviderOptions]]:
    """The providers for a session of `graph` (an ONNX file's content), with their options.

    What the first does not know goes to the next one, node by node, as
    `serve.device_check.placement` tells. `capture` records the whole run as a CUDA graph: for a
    graph whose sizes are all fixed. CUDA is told to keep float32's mantissa: with the TF32 that is
    its default 0.2 % of a golden frame's labels changed, more than a bundle allows. For TensorRT
    there are no options for the precision: without them it keeps to the types in the graph. Raises
    Failure like `engine_folder`.
    """
    options: dict[str, ProviderOptions] = {"cpu": {}, "cuda": {"use_tf32": "0"}, "tensorrt": {}}
    if provider == "cuda" and capture:
        options["cuda"]["enable_cuda_graph"] = "1"
    if provider == "tensorrt":
        folder = str(engine_folder(graph))
        options["tensorrt"] = {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": folder,
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": folder,
            **({"trt_cuda_graph_enable": "1"} if capture else {}),
        }
    names = list(PROVIDERS)[list(PROVIDERS).index(provider) :: -1]
    return [(PROVIDERS[name], options[name]) for name in names]


def engine_folder(graph: bytes) -> Path:
    """Where TensorRT keeps what it builds of `graph`: a folder of the user's own.

    It is named after the graph's SHA-256: the names that the runtime gives engines know nothing of
    the weights or of fixed sizes. A kept engine is code that will run, so nobody else may write
    there. Raises Failure when someone else may, or when the folder cannot be made.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "roadshift"
    kept = base / "tensorrt"
    folder = kept / hashlib.sha256(graph).hexdigest()[:32]
    try:
        base.mkdir(parents=True, exist_ok=True)
        for part in (kept, folder):
            part.mkdir(mode=0o700, exist_ok=True)
            about = part.stat()
            if about.st_uid != os.getuid() or about.st_mode & 0o022:
                raise Failure(
                    f"TensorRT's engines are kept in {part}, and others may write there: an engine "
                    "is code, so make the folder yours alone (chmod 700) or delete it"
                )
    except OSError as error:
        raise Failure(
            f"could not make the folder for TensorRT's engines {folder} "
            f"({error.strerror or error}): name another place in XDG_CACHE_HOME"
        ) from error
    return folder
