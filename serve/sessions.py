"""ONNX Runtime sessions of one of a bundle's graphs, on exactly the provider that was asked."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from export.bundle import Bundle
from roadshift import Failure, UserError, unknown
from serve.prune import prune

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
ALONE = ("labels", "logits")
"""Outputs that are worth a session of their own when nothing else is asked for."""


class Sessions:
    """The whole graph, and beside it what single outputs need, loaded when first asked for.

    Raises Failure when the provider is not there or does not start, or a graph does not load.
    """

    def __init__(self, bundle: Bundle, file: str, provider: str, threads: int) -> None:
        """`file` is the graph's name in the bundle."""
        self._bundle, self._file = bundle, file
        self._provider, self._threads = provider, threads
        self._ort = _runtime(provider, threads)
        self._lock = threading.Lock()
        self._alone: dict[str, Any] = {}
        self.whole = self._load(str(bundle.path(file)))

    def giving(self, wanted: Sequence[str]) -> Any:
        """The smallest session with these outputs."""
        if len(wanted) != 1 or wanted[0] not in ALONE:
            return self.whole
        name = wanted[0]
        with self._lock:
            if name not in self._alone:
                self._alone[name] = self._load_alone(name)
            return self._alone[name]

    def _load_alone(self, name: str) -> Any:
        return self._load(prune(self._bundle.path(self._file).read_bytes(), [name]))

    def _load(self, graph: str | bytes) -> Any:
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 3  # warnings about shapes say nothing to a user
        # What the first provider does not know goes to the next one, node by node.
        names = list(PROVIDERS.values())[list(PROVIDERS).index(self._provider) :: -1]
        try:
            session = self._ort.InferenceSession(graph, options, providers=names, enable_fallback=0)
        except Exception as error:  # ONNX Runtime's errors have no base class of their own
            raise Failure(
                f"ONNX Runtime {self._ort.__version__} could not load {self._file} of bundle "
                f"{self._bundle.folder} on {self._provider}: {error}"
            ) from error
        # A provider whose libraries do not load is dropped with no more than a line on stderr.
        if session.get_providers()[0] != PROVIDERS[self._provider]:
            raise Failure(
                f"asked for the provider {self._provider}, and it did not start on this machine "
                f"(ONNX Runtime uses {', '.join(session.get_providers())}): check the driver and "
                "the CUDA and TensorRT libraries, or use --provider cpu"
            )
        return session


def _extra(provider: str) -> str:
    return "roadshift[cpu]" if provider == "cpu" else "roadshift[gpu]"


def _runtime(provider: str, threads: int) -> ModuleType:
    """ONNX Runtime, once it is certain that it has the provider."""
    if threads < 0:
        raise UserError(f"threads is {threads}: wanted 0 (one a core) or more")
    if provider not in PROVIDERS:
        raise unknown("provider", provider, PROVIDERS)
    try:
        import onnxruntime as ort  # noqa: PLC0415 - one of two extras brings it
    except ImportError as error:
        raise Failure(f"ONNX Runtime is not installed: pip install '{_extra(provider)}'") from error
    there = [name for name, full in PROVIDERS.items() if full in ort.get_available_providers()]
    if provider not in there:
        raise Failure(
            f"asked for the provider {provider}, and this ONNX Runtime has {', '.join(there)} "
            f"only: use one of them, or pip install '{_extra(provider)}' (in an environment of "
            "its own: the two ONNX Runtimes exclude each other)"
        )
    return ort
