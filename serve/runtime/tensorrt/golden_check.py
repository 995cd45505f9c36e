"""A plan against the bundle's golden frames: is it still the same model on this device?

Frames of the plan's size are compared with what torch made of them. A plan is built for one size,
often the camera's and not that of the golden frames: these are then resized, and the answer wanted
is that of the bundle's float32 graph, which was verified against torch at several sizes, on ONNX
Runtime's CPU provider.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from export.bundle import Bundle, Golden
from export.bundle.graphs import GRAPHS, GraphSpec
from export.bundle.reproduction import Found, Reproduction, reproduction
from roadshift import Failure, hxw
from serve.runtime.psnr import psnr
from serve.runtime.rewrites.prune import prune

Pixels = NDArray[np.uint8]
Size = tuple[int, int]


class Pair(NamedTuple):
    """What a graph is given, uint8 [h,w,3] or [h,w], and what it must answer; `by` made it."""

    given: Pixels
    wanted: Pixels
    by: str


class GraphRunner(Protocol):
    """A graph on a device; see serve.runtime.graph.Graph.run."""

    def run(self, values: Pixels, wanted: Sequence[str]) -> dict[str, NDArray[Any]]:
        """The named outputs for an input uint8 [n,h,w,...]."""
        ...


def pairs(bundle: Bundle, graph: str, size: Size) -> Iterator[Pair]:
    """The golden frames (of labels where the graph takes these) at the size (height, width).

    Raises Failure when a frame has another size and there is no ONNX Runtime to ask for it.
    """
    spec = GRAPHS[graph]
    golden = (
        [(drawn.given, drawn.image) for drawn in bundle.golden_drawn(spec)]
        if spec.draws
        else [(frame.image, frame.labels) for frame in bundle.golden()]
    )
    reference = None
    for given, wanted in golden:
        if given.shape[:2] == size:
            yield Pair(given, wanted, "torch")
            continue
        reference = reference or _Reference(bundle, graph, size)
        how = cv2.INTER_LINEAR if given.ndim == 3 else cv2.INTER_NEAREST
        resized = np.asarray(cv2.resize(given, size[::-1], interpolation=how), np.uint8)
        yield Pair(resized, reference(resized), "the float32 graph on the CPU")


def verify(
    runner: GraphRunner, bundle: Bundle, graph: str, precision: str, size: Size
) -> dict[str, Any]:
    """What came out: the measure, the worst frame's value, what was wanted, frames, against what.

    The measure is "agreement" (share of equal labels, 0..1), or "psnr" of an image in decibels,
    None when equal. Raises Failure for a frame that does not come out well enough.
    """
    spec, worst, against = GRAPHS[graph], float("inf"), set[str]()
    least = (
        float(bundle.checks[graph]["min_psnr"]) if spec.draws else bundle.min_agreement(precision)
    )
    measure = psnr if spec.draws else _agreement
    golden, came_out = list[Golden](), list[Found]()
    for pair in pairs(bundle, graph, size):
        found = runner.run(pair.given[None], [spec.output])[spec.output][0]
        worst = min(worst, measure(found, pair.wanted))
        golden.append(Golden(pair.given, pair.wanted))
        came_out.append(Found(found))
        against.add(pair.by)
    if worst < least:
        raise _refusal(bundle, precision, _too_far(spec, worst, least))
    if not spec.draws:
        result = reproduction(golden, came_out, bundle.classes)
        if wrong := result.reasons(_with_evidence(bundle.limits(precision), result)):
            raise _refusal(bundle, precision, wrong[0])
    return {
        "measure": spec.measure,
        "worst": worst if np.isfinite(worst) else None,
        "wanted": least,
        "frames": len(golden),
        "against": sorted(against),
    }


def _with_evidence(limits: Mapping[str, Any], result: Reproduction) -> dict[str, Any]:
    """Limits of the classes that have evidence at this size too: there may be fewer pixels."""
    return {"classes": {k: v for k, v in limits.get("classes", {}).items() if k in result.classes}}


class _Reference:
    """The bundle's float32 graph on ONNX Runtime's CPU provider."""

    def __init__(self, bundle: Bundle, graph: str, size: Size) -> None:
        try:
            import onnxruntime as ort  # noqa: PLC0415 - only for frames of another size
        except ImportError as error:
            raise Failure(
                f"the golden frames of bundle {bundle.folder} are not of {hxw(size)}, so "
                "the wanted labels must be computed, and ONNX Runtime is not installed: "
                "pip install onnxruntime, or give the frames' own size with --size"
            ) from error
        self._output = GRAPHS[graph].output
        content = prune(bundle.path(GRAPHS[graph].file).read_bytes(), [self._output])
        options = ort.SessionOptions()
        options.log_severity_level = 3
        self._session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def __call__(self, given: Pixels) -> Pixels:
        name = self._session.get_inputs()[0].name
        return np.asarray(self._session.run([self._output], {name: given[None]})[0])[0]


def _agreement(found: Pixels, wanted: Pixels) -> float:
    return float(np.mean(found == wanted))


def _too_far(spec: GraphSpec, worst: float, least: float) -> str:
    if spec.draws:
        return f"a golden image to {worst:.1f} dB on this device, wanted {least:g} dB"
    return f"{worst:.4%} of a golden frame's labels on this device, wanted {least:.4%}"


def _refusal(bundle: Bundle, precision: str, found: str) -> Failure:
    return Failure(
        f"the plan of bundle {bundle.name} in {precision} gives {found}: it is not the model that "
        "was verified; try another --precision, or another version of TensorRT"
    )
