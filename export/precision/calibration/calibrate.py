"""The range of every activation, from unlabelled frames of the target.

Three passes, each holding one frame at a time: the pixels are hashed, extremes and means are taken
inside the graph, and, where the method is not "minmax", histograms over these extremes are filled.
The thresholds are then those of ONNX Runtime's own calibrators. Filling the histograms here instead
of there keeps their bins where they are from the first frame on: ONNX Runtime widens them with
every brighter frame, without end after a dark one, and with its usual 128 bins "entropy" has one
threshold to choose from.

For "entropy" the bins around 0 count as their neighbours do, as in NVIDIA's calibrators: what Relu
set to 0 is represented exactly whatever the threshold, and would outweigh everything else.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization.calibrate import HistogramCollector

from export.precision.calibration.partial_session import PartialSession, Pixels
from export.precision.calibration.ranges import (
    FORMAT,
    CalibrationMethod,
    Ranges,
    read_ranges,
    write_ranges,
)
from export.precision.calibration.statistics import statistics
from export.precision.graph_index import Flow, prepared
from export.precision.int8_nodes import sites
from roadshift import UserError, hxw

Histogram = NDArray[np.int64]
BINS = {"entropy": 1024, "percentile": 4096}
"""From -largest to largest. The search behind "entropy" takes time with the square of the bins."""
QUANTISED_BINS = 128
PERCENTILE = 99.999


def calibrate(
    model: onnx.ModelProto,
    frames: Iterable[Pixels],
    method: CalibrationMethod,
    cache: Path | None = None,
) -> Ranges:
    """The ranges of a float32 graph whose one input is uint8 [n,h,w,3].

    `frames`, uint8 [h,w,3], are gone through three times: a list, or something that reads them
    anew each time. A `cache` made of the same graph, frames and method is read instead; otherwise
    it is written. Raises UserError where there is no frame or one that the graph does not take,
    Failure where a value is NaN or infinite.
    """
    assert iter(frames) is not frames, "frames that can be gone through once only"
    model = prepared(model)
    fingerprint, count = _fingerprint(model, frames, method)
    if cache is not None and (known := read_ranges(cache, fingerprint)):
        return known
    flow = Flow(model)
    seen = statistics(flow, model, frames)
    wanted, largest = sorted(sites(flow).tensors), seen.largest
    bounds = {name: seen.bounds[name] for name in wanted}
    if method != "minmax":
        counts = _histograms(model, frames, {n: largest[n] for n in wanted if largest[n]}, method)
        bounds |= {
            name: _threshold(count, bounds[name], largest[name], method)
            for name, count in counts.items()
        }
    ranges = Ranges(
        method=method,
        frames=count,
        fingerprint=fingerprint,
        bounds=bounds,
        largest=largest,
        means=seen.means,
    )
    if cache is not None:
        write_ranges(cache, ranges)
    return ranges


def _fingerprint(
    model: onnx.ModelProto, frames: Iterable[Pixels], method: CalibrationMethod
) -> tuple[str, int]:
    """The hash, and how many frames there are."""
    digest, count = hashlib.sha256(f"{FORMAT} {method} ".encode()), 0
    digest.update(model.graph.SerializeToString(deterministic=True))
    axes = model.graph.input[0].type.tensor_type.shape.dim
    for frame in frames:
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise UserError(
                f"calibration frame {count} is {frame.dtype} {list(frame.shape)}: give RGB frames, "
                "uint8 [height, width, 3]"
            )
        fits = [axis.dim_value in (0, n) for axis, n in zip(axes[1:], frame.shape, strict=False)]
        if not all(fits):
            right = hxw([axis.dim_value for axis in axes[1:3]])
            raise UserError(
                f"calibration frame {count} is {hxw(frame.shape[:2])} and the graph takes "
                f"{right}: give frames of that size"
            )
        digest.update(f"{frame.shape}".encode() + np.ascontiguousarray(frame).tobytes())
        count += 1
    if not count:
        raise UserError("the calibration set is empty: give images of the target city")
    return digest.hexdigest(), count


def _histograms(
    model: onnx.ModelProto,
    frames: Iterable[Pixels],
    largest: dict[str, float],
    method: CalibrationMethod,
) -> dict[str, Histogram]:
    """How often the values of each tensor lie in each bin from -largest to largest."""
    counts = {name: np.zeros(BINS[method], np.int64) for name in largest}
    run = PartialSession(model, list(largest))
    for frame in frames:
        for (name, most), values in zip(largest.items(), run(frame), strict=True):
            counts[name] += np.histogram(values, BINS[method], (-most, most))[0]
    return counts


def _threshold(
    counts: Histogram, extremes: tuple[float, float], largest: float, method: CalibrationMethod
) -> tuple[float, float]:
    """ONNX Runtime's choice of (low, high) for a histogram."""
    symmetric, bins = method == "percentile", len(counts)
    edges = np.linspace(-largest, largest, bins + 1, dtype=np.float32)
    collector = HistogramCollector(
        method=method,
        symmetric=symmetric,
        num_bins=bins,
        num_quantized_bins=QUANTISED_BINS,
        percentile=PERCENTILE,
        scenario="same",
    )
    middle = bins // 2
    if symmetric:  # of |value|
        counts, edges = counts[middle:] + counts[:middle][::-1], edges[middle:]
    else:
        counts = counts.copy()
        counts[middle], counts[middle - 1] = counts[middle + 1], counts[middle - 2]
    ends = np.float32(extremes[0]), np.float32(extremes[1])
    collector.histogram_dict = {"": (counts, edges, *ends, np.float32(largest))}
    with contextlib.redirect_stdout(io.StringIO()):
        low, high = collector.compute_collection_result()[""][:2]
    return float(low), float(high)
