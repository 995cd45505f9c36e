"""The extremes of every tensor and the mean of every channel, taken inside the graph."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

from export.precision.calibration.partial_session import PartialSession, Pixels
from export.precision.graph_index import Flow
from roadshift import Failure

# ReduceMin and ReduceMax skip a NaN, a sum does not.
REDUCTIONS = ("ReduceMin", "ReduceMax", "ReduceSum")
BUT_CHANNELS = "all axes but the channels'"


class Statistics(NamedTuple):
    """Over some frames: the largest |value| and the (lowest, highest) of every float tensor up to
    the last layers, and the mean of every channel of what a convolution reads, frames of all sizes
    weighing the same."""

    largest: dict[str, float]
    bounds: dict[str, tuple[float, float]]
    means: dict[str, tuple[float, ...]]


def statistics(flow: Flow, model: onnx.ModelProto, frames: Iterable[Pixels]) -> Statistics:
    """Runs the graph, of which `flow` is the index, on each frame, uint8 [h,w,3].

    Raises UserError for a frame that the graph does not take, Failure where a value is NaN or
    infinite.
    """
    names = [
        name
        for node in flow.nodes
        if node.name not in flow.tail or flow.is_weighted(node)
        for name in node.output
        if flow.is_float(name)
    ]
    read = sorted({n.input[0] for n in flow.nodes if n.op_type == "Conv" and flow.is_weighted(n)})
    run = _session(model, names, read)
    low, high = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    means: dict[str, list[list[float]]] = {name: [] for name in read}
    for frame in frames:
        answers = run(frame)
        found = np.array([float(x) for x in answers[: -len(read) or None]]).reshape(-1, 3)
        if not np.isfinite(found).all():
            bad = names[int(np.flatnonzero(~np.isfinite(found).all(1))[0])]
            raise Failure(
                f"the network's tensor {bad!r} is NaN or infinite on a calibration frame: no lower "
                "precision can be made of it"
            )
        low, high = np.minimum(low, found[:, 0]), np.maximum(high, found[:, 1])
        for name, mean in zip(read, answers[len(answers) - len(read) :], strict=True):
            means[name].append(mean.tolist())
    largest = np.maximum(abs(low), abs(high))
    return Statistics(
        dict(zip(names, largest.tolist(), strict=True)),
        dict(zip(names, zip(low.tolist(), high.tolist(), strict=True), strict=True)),
        {name: tuple(np.mean(rows, 0).tolist()) for name, rows in means.items()},
    )


def _session(model: onnx.ModelProto, names: list[str], read: list[str]) -> PartialSession:
    """Answers the three reductions of each of `names`, then the means of each of `read`."""
    nodes = [_reduction(op, name) for name in names for op in REDUCTIONS]
    nodes += [_reduction("ReduceMean", name, BUT_CHANNELS) for name in read]
    with_axes = onnx.ModelProto()
    with_axes.CopyFrom(model)
    with_axes.graph.initializer.append(numpy_helper.from_array(np.array([0, 2, 3]), BUT_CHANNELS))
    return PartialSession(with_axes, [node.output[0] for node in nodes], nodes)


def _reduction(op: str, name: str, *axes: str) -> NodeProto:
    made = f"{op} of {name}"
    return helper.make_node(op, [name, *axes], [made], keepdims=0, name=made)
