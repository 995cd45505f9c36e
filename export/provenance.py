"""Where an exported network comes from, as values for JSON."""

from __future__ import annotations

import math
from typing import Any

import onnx
import onnxruntime
import torch

from adapt.checkpoint import RunInfo
from adapt.networks.segmentor import Normalise, Segmentor
from roadshift import __version__


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
        "translator": info.parts.get("translator"),
        "reconstructor": info.parts.get("reconstructor"),
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
    return plain(facts)


def plain(value: Any) -> Any:
    """JSON values without nan (a class that occurs nowhere), which JSON does not have."""
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
