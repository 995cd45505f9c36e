"""Where an exported network comes from, as values for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import onnx
import onnxruntime
import torch

from adapt.checkpoint import RunInfo
from adapt.networks.segmentor import Normalise, Segmentor
from export.bundle.data_name import public_spec
from roadshift import __version__


def provenance(segmentor: Segmentor, info: RunInfo) -> dict[str, Any]:
    """Where the network comes from, and what it does to a picture first."""
    settings = info.settings
    norm = next((m for m in segmentor.modules() if isinstance(m, Normalise)), None)
    facts = {
        "method": info.method,
        "network": info.network,
        "source": public_spec(info.source),
        "target": public_spec(info.target),
        "fingerprints": info.fingerprints,
        "commit": info.commit,
        "steps": info.steps,
        "rounds": settings.get("rounds", 1),
        "checkpoint": info.checkpoint,
        "selected_on": public_spec(settings.get("select_on", "")),
        "teacher": PurePath(settings.get("teacher", "")).name,
        "image_labels": bool(settings.get("image_labels")),
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


def steps_of(facts: Mapping[str, Any]) -> str:
    """How long it was trained, in words."""
    rounds = f" in each of {facts['rounds']} rounds" if facts["rounds"] > 1 else ""
    return f"{facts['steps']} steps{rounds}"


def public_scores(scores: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A run's scores by data set, without a folder of the machine that scored it."""
    own = {"run", "data"}
    return {
        public_spec(data): plain({k: v for k, v in score.items() if k not in own})
        for data, score in scores.items()
    }


def plain(value: Any) -> Any:
    """JSON values without nan (a class that occurs nowhere), which JSON does not have."""
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
