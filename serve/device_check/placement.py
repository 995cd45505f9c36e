"""Which provider really runs each node of a graph, and the share of what precedes the network.

ONNX Runtime gives a node that a provider lacks to the next one, down to the CPU, and says nothing;
a frame then crosses the bus twice for it. Its profile of one run tells.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadshift import Failure
from serve.runtime.graph import Graph
from serve.runtime.providers import PROVIDERS

SMALL = 256
"""Bytes; a node whose tensors are no larger computes with shapes, which the CPU does for all."""
ASKS_SHAPE = ("Shape", "Size")
"""Operators that read no value of a tensor, however large."""
COPIES = ("MemcpyFromHost", "MemcpyToHost")
CONVOLUTIONS = ("Conv", "FusedConv", "NhwcConv", "NhwcFusedConv", "QLinearConv", "ConvInteger")


@dataclass(frozen=True)
class Elsewhere:
    """A node with real work that another provider than the asked one runs."""

    node: str
    op: str
    provider: str


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where one run's nodes were.

    `nodes` counts them by provider ("cpu", "cuda", "tensorrt"; a node may be a fused part of the
    graph), `copies` are those that move a tensor between host and device. `before` is the share
    (0..1) of the time until the first convolution starts: casting, resizing and normalising; None
    where the profile cannot tell (a GPU's kernels run on after their nodes have returned, and
    TensorRT's one node holds everything). What the host prepares is not in it.
    """

    provider: str
    nodes: dict[str, int]
    copies: int
    off_device: tuple[Elsewhere, ...]
    before: float | None

    def check(self) -> None:
        """Raises Failure for a compute node on the CPU, or none at all where it was asked for."""
        fallen = [node for node in self.off_device if node.provider == "cpu"]
        if fallen:
            more = f", and {len(fallen) - 1} more" if len(fallen) > 1 else ""
            raise Failure(
                f"the node {fallen[0].node!r} ({fallen[0].op}{more}) runs on the CPU although "
                f"{self.provider} was asked for: ONNX Runtime has no such kernel for it; use a "
                "newer one, or another --provider"
            )
        if not self.nodes.get(self.provider):
            raise Failure(
                f"no node runs on {self.provider}, which was asked for: use another --provider"
            )


def placement(graph: Graph, given: NDArray[np.uint8]) -> Placement:
    """Where the nodes for the outputs asked for most run, for an input uint8 [n,h,w,...].

    Loads a session of its own, for two runs of which the second counts. Raises Failure like Graph.
    """
    what, runtime = graph.sessions.what, graph.sessions.runtime
    model = graph.sessions.graph(graph.first).SerializeToString()
    with tempfile.TemporaryDirectory(prefix="roadshift-profile-") as folder:
        session = runtime.session(model, what, profile=Path(folder) / "run")
        feeds = graph.sessions.feed(given, session)
        try:
            for _ in range(2):
                session.run(list(graph.first), feeds)
        except Exception as error:  # ONNX Runtime's errors have no base class of their own
            raise Failure(f"the engine failed on {graph.takes} while profiled: {error}") from error
        events = json.loads(Path(session.end_profiling()).read_bytes())
    return from_events(events, graph.provider)


def from_events(events: Sequence[dict[str, Any]], provider: str) -> Placement:
    """Reads the profile of a session on `provider`; the last of its runs counts."""
    began = max(event["ts"] for event in events if event["name"] == "model_run")
    nodes = [
        event
        for event in events
        if event["cat"] == "Node"
        and event["name"].endswith("_kernel_time")
        and event["ts"] >= began
    ]
    counts = Counter(_provider(event) for event in nodes)
    off = tuple(
        Elsewhere(event["name"].removesuffix("_kernel_time"), _op(event), _provider(event))
        for event in nodes
        if _provider(event) != provider and _op(event) not in COPIES and _works(event)
    )
    return Placement(
        provider=provider,
        nodes=dict(counts),
        copies=sum(_op(event) in COPIES for event in nodes),
        off_device=off,
        before=_before(nodes) if provider == "cpu" else None,
    )


def _op(event: dict[str, Any]) -> str:
    return str(event["args"]["op_name"])


def _provider(event: dict[str, Any]) -> str:
    full = str(event["args"]["provider"])
    return next((name for name, known in PROVIDERS.items() if known == full), full)


def _works(event: dict[str, Any]) -> bool:
    """Whether a node does more than arithmetic with shapes."""
    sizes = [int(event["args"].get(key, 0)) for key in ("activation_size", "output_size")]
    return _op(event) not in ASKS_SHAPE and max(sizes) > SMALL


def _before(nodes: Sequence[dict[str, Any]]) -> float | None:
    """The time of the nodes that ran before the first convolution, as a share of all.

    On the CPU nodes run one after the other, and only shape arithmetic can stand between them.
    """
    first = next((i for i, event in enumerate(nodes) if _op(event) in CONVOLUTIONS), None)
    total = sum(event["dur"] for event in nodes)
    if first is None or not total:
        return None
    return sum(event["dur"] for event in nodes[:first]) / total
