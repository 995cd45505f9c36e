"""What one frame costs: operations, parameters and milliseconds of the whole deployed function."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

import torch
from jaxtyping import UInt8
from torch import Tensor, fx
from torch.func import functionalize
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.flop_counter import FlopCounterMode

from adapt.evaluation.evaluate import logits_of
from adapt.networks.segmentor import Segmentor
from adapt.networks.upsampling import labels_at

FORWARDS = 9


class Cost(NamedTuple):
    """Of one frame. Counted are convolutions and matrix products, a multiply-add as two."""

    gflops: float
    parameters: float
    """millions"""
    milliseconds: float
    """the median of `FORWARDS` forwards, from the frame's bytes to its labels"""


class Function(NamedTuple):
    """What is deployed: a segmentor in eval mode, and the (height, width) it works at."""

    segmentor: Segmentor
    work_size: tuple[int, int] | None


def costs_of(functions: Sequence[Function], frame: UInt8[Tensor, "1 h w 3"]) -> list[Cost]:
    """What each of them costs on the device where all of them and the frame are.

    They take turns in being timed, so that what else the machine does slows all of them alike.
    """
    with torch.no_grad():
        graphs = [_deployed(function, frame) for function in functions]
    seconds: list[list[float]] = [[] for _ in functions]
    for _ in range(1 + FORWARDS):
        for function, graph, mine in zip(functions, graphs, seconds, strict=True):
            mine.append(_seconds(graph, frame, function.segmentor.align_corners))
    return [
        Cost(
            _operations(graph, frame) / 1e9,
            sum(p.numel() for p in _used(graph)) / 1e6,
            1000 * median(mine[1:]),  # the first warms up
        )
        for graph, mine in zip(graphs, seconds, strict=True)
    ]


def _seconds(
    deployed: fx.GraphModule, frame: UInt8[Tensor, "1 h w 3"], align_corners: bool
) -> float:
    size = (frame.shape[1], frame.shape[2])
    with torch.inference_mode():
        start = time.perf_counter()
        # The copy ends only when the device has done its work.
        labels_at(deployed(frame), size, align_corners).cpu()
        return time.perf_counter() - start


def _operations(deployed: fx.GraphModule, frame: UInt8[Tensor, "1 h w 3"]) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        deployed(frame)
    return counter.get_total_flops()


def _deployed(function: Function, frame: UInt8[Tensor, "1 h w 3"]) -> fx.GraphModule:
    """Bytes -> logits as an export has it: the auxiliary head leads nowhere and is cut off."""

    def logits(image: Tensor) -> Tensor:
        return logits_of(function.segmentor, image, function.work_size)

    # An operation in place would keep what leads nowhere alive.
    graph = make_fx(functionalize(logits))(frame)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def _used(module: fx.GraphModule) -> list[Tensor]:
    names = {str(node.target) for node in module.graph.nodes if node.op == "get_attr"}
    return [p for name, p in module.named_parameters() if name in names]
