"""How large the values in a graph become, their means, and the file that remembers it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from roadshift import Failure, replacing

FORMAT = 3
CalibrationMethod: TypeAlias = Literal["entropy", "percentile", "minmax"]


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """What calibration saw.

    `bounds` holds, for every tensor that INT8 may quantise, the (low, high) that its 8 bits should
    span; by "entropy" and "percentile" that is less than what was seen. `largest` is the largest
    |value| seen of every float tensor up to the last layers, `means` the mean of every channel of
    what a convolution reads. `fingerprint` is the SHA-256 over the graph, the method and the pixels
    of the `frames` frames.
    """

    method: CalibrationMethod
    frames: int
    fingerprint: str
    bounds: Mapping[str, tuple[float, float]]
    largest: Mapping[str, float]
    means: Mapping[str, tuple[float, ...]]

    def bound(self, tensor: str) -> float:
        """The largest |value| that 8 bits should represent.

        Raises Failure for a tensor that was not calibrated.
        """
        if tensor not in self.bounds:
            raise Failure(
                f"the calibration knows nothing of the tensor {tensor!r}: it was made for another "
                "graph, calibrate this one"
            )
        return max(map(abs, self.bounds[tensor]))


def read_ranges(path: Path, fingerprint: str) -> Ranges | None:
    """What the file remembers; None where there is none, or another's, or a damaged one."""
    try:
        values = json.loads(path.read_bytes())
        if values.pop("format") != FORMAT or values["fingerprint"] != fingerprint:
            return None
        values["bounds"] = {k: (float(low), float(high)) for k, (low, high) in _items(values)}
        values["largest"] = {str(k): float(v) for k, v in values["largest"].items()}
        values["means"] = {str(k): tuple(map(float, v)) for k, v in values["means"].items()}
        ranges = Ranges(**values)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    rows = [*ranges.bounds.values(), *ranges.means.values(), tuple(ranges.largest.values())]
    numbers = [x for row in rows for x in row]
    return ranges if all(map(math.isfinite, numbers)) else None


def write_ranges(path: Path, ranges: Ranges) -> None:
    """Raises Failure when the disk refuses; what was at `path` before is then still there."""
    text = json.dumps({"format": FORMAT} | asdict(ranges), indent=1, sort_keys=True)
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8")


def _items(values: dict[str, Any]) -> list[tuple[str, list[float]]]:
    return list(values["bounds"].items())
