"""ONNX Runtime on exactly the provider that was asked for."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

from roadshift import Failure, UserError, unknown
from serve.runtime.byte_products import keep_exact
from serve.runtime.providers import PROVIDERS, chain

# What ONNX Runtime says of an operator of another version, another vendor, or without a kernel.
_OPERATORS = (
    r"No Op registered for (?P<op>\w+)",
    r"(?P<op>[\w.]+:\w+)\(-?\d+\) is not a registered function/op",
    r"Could not find an implementation for (?P<op>\w+)\(\d+\) node with name '(?P<node>[^']*)'",
)


class Runtime:
    """ONNX Runtime, once it is certain that it is installed and has the provider.

    `provider` is "cpu", "cuda" or "tensorrt", `threads` the number of CPU threads of one call (0:
    one a core). Raises UserError for others, Failure when the provider is not there.
    """

    def __init__(self, provider: str, threads: int) -> None:
        self.provider, self.threads = provider, threads
        self.ort = _installed(provider, threads)

    @property
    def version(self) -> str:
        """ONNX Runtime's version."""
        return str(self.ort.__version__)

    def session(
        self,
        graph: bytes,
        what: str,
        *,
        capture: bool = False,
        profile: Path | None = None,
        arena: bool = True,
    ) -> Any:
        """A session of the ONNX file's content `graph`; `what` it is, for people.

        `capture` makes a CUDA graph of it, see `providers.chain`; with `profile` the session
        writes how long each node takes to a file that begins with that path. Without an `arena`
        what a run needs on the CPU is allocated anew in each. Raises Failure when the graph does
        not load, or the provider does not start.
        """
        options = self.ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.enable_cpu_mem_arena = arena
        options.log_severity_level = 3  # warnings about shapes say nothing to a user
        # Idle threads would go on spinning for a while after a run, on the cores on which the
        # labels are then finished: without that the finishing takes half the time or less.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if self.provider == "cpu":
            keep_exact(options, graph)
        if profile is not None:
            options.enable_profiling, options.profile_file_prefix = True, str(profile)
        providers = chain(self.provider, graph, capture)
        try:
            session = self.ort.InferenceSession(
                graph, options, providers=providers, enable_fallback=0
            )
        except Exception as error:  # ONNX Runtime's errors have no base class of their own
            raise self._not_loaded(what, error) from error
        # A provider whose libraries do not load is dropped with no more than a line on stderr.
        if session.get_providers()[0] != PROVIDERS[self.provider]:
            raise Failure(
                f"asked for the provider {self.provider}, and it did not start on this machine "
                f"(ONNX Runtime uses {', '.join(session.get_providers())}): check the driver and "
                "the CUDA and TensorRT libraries, or use --provider cpu"
            )
        return session

    def _not_loaded(self, what: str, error: Exception) -> Failure:
        for pattern in _OPERATORS:
            if found := re.search(pattern, str(error)):
                node = found.groupdict().get("node")
                return Failure(
                    f"ONNX Runtime {self.version} has no operator {found['op']} on {self.provider}"
                    f"{f', which the node {node!r} is' if node else ''}: it cannot run {what}; use "
                    "a newer ONNX Runtime or another provider"
                )
        return Failure(
            f"ONNX Runtime {self.version} could not load {what} on {self.provider}: {error}"
        )


def _extra(provider: str) -> str:
    return "roadshift[cpu]" if provider == "cpu" else "roadshift[gpu]"


def _installed(provider: str, threads: int) -> ModuleType:
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
    if provider != "cpu" and hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # CUDA's libraries may have come with pip, where no loader looks
    return ort
