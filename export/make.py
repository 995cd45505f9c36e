"""A trained segmentor becomes a bundle, or the reason is given why it does not."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import torch

from adapt.checkpoint import RunInfo, SavedRun
from adapt.networks.segmentor import Normalise, Segmentor
from export.bundle import REPORT, SEGMENTOR, Bundle, check_destination, write_bundle
from export.frames import Frames, Size
from export.graph import OPSET, Deployed, smallest_size, to_onnx
from export.report import report
from export.verify import OnnxRuntime, Subject, Verification, golden_frames, sizes_to_check, verify
from roadshift import Failure, UserError, __version__


def make_bundle(saved: SavedRun, frames: Frames, out: Path, *, size: Size | None) -> Bundle:
    """Exports, verifies on `frames` and writes; `size` (height, width) or None for every size.

    Raises UserError for a size or frames that do not fit, Failure when the graph is not the network
    or the disk is full; what was at `out` before is then as it was.
    """
    check_destination(out)
    segmentor, info = saved
    smallest = smallest_size(segmentor, info.work_size)
    native = size or _native(frames, smallest)
    facts = provenance(segmentor, info)
    about = {"classes": info.classes, "palette": info.palette, "provenance": facts}
    graph = to_onnx(Deployed(segmentor, info.work_size).eval(), size, about).SerializeToString()
    subject = Subject(segmentor=segmentor, work_size=info.work_size, classes=info.classes)
    golden = golden_frames(subject, frames, size)
    sizes = (size,) if size else sizes_to_check(native, smallest)
    verification = verify(subject, OnnxRuntime(graph), frames, sizes, golden)
    if not verification.passed:
        raise Failure(refusal(verification, out))
    bundle = Bundle(
        folder=out,
        name=re.sub(r"[^A-Za-z0-9._-]+", "-", out.resolve().name).strip(".-_") or "segmentor",
        classes=info.classes,
        palette=info.palette,
        size=size,
        min_size=size or smallest,
        precision="fp32",
        opset=OPSET,
        provenance=facts,
        scores=_plain(info.scores),
        checks=_plain(verification.values()),
        files={},
    )
    contents = {SEGMENTOR: graph, REPORT: report(bundle, verification).encode()}
    return write_bundle(bundle, contents, golden)


def provenance(segmentor: Segmentor, info: RunInfo) -> dict[str, Any]:
    """Where the network comes from, and what it does to a picture first."""
    norm = next((m for m in segmentor.modules() if isinstance(m, Normalise)), None)
    facts = {
        "method": info.method,
        "network": info.network,
        "source": info.source,
        "target": info.target,
        "fingerprints": info.fingerprints,
        "commit": info.commit,
        "steps": info.steps,
        "seed": info.seed,
        "work_size": info.work_size,
        "align_corners": segmentor.align_corners,
        "normalisation": norm
        and {
            "order": "BGR" if norm.bgr else "RGB",
            "mean": norm.mean.flatten().tolist(),
            "std": norm.std.flatten().tolist(),
        },
        "trained_with": info.versions,
        "exported_with": {
            "roadshift": __version__,
            "torch": torch.__version__,
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
        },
    }
    return _plain(facts)


def refusal(verification: Verification, out: Path) -> str:
    """The one sentence, with the numbers, for a graph that is not its network."""
    first = "; ".join(verification.reasons[:3])
    rest = len(verification.reasons) - 3
    more = f"; and {rest} more" if rest > 0 else ""
    return (
        f"the exported graph does not agree with its network on {verification.spec}: {first}{more}."
        f" No bundle was written, {out} is as it was; try --size HxW, or another version of torch"
    )


def _native(frames: Frames, smallest: Size) -> Size:
    """The size of the first frame."""
    size = frames.read(0).size
    if size[0] < smallest[0] or size[1] < smallest[1]:
        raise UserError(
            f"the frames of {frames.spec} are {size[0]}x{size[1]} and this network takes them from "
            f"{smallest[0]}x{smallest[1]} on: give --frames with larger ones, or --size HxW"
        )
    return size


def _plain(value: Any) -> Any:
    """Without nan (a class that occurs nowhere), which JSON does not have."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
