"""How good the image-level labels of a run's classifier are, where the truth is at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from rich.progress import track
from torch import Tensor

from adapt import checkpoint
from adapt.data.datasets import labelled
from adapt.data.image_labels import class_shares
from adapt.methods.pivot.features import FeaturesConfig, features_of, frozen_network
from adapt.methods.pivot.stages import classifier_of
from adapt.run import parse_size
from adapt.stages.made import DONE
from roadshift import UserError


class Off(NamedTuple):
    """How far shares are from the true ones: means over images."""

    kl: float
    """KL(truth || said), in nats"""
    mae: float
    """mean absolute error over classes"""


class Quality(NamedTuple):
    """The classifier's labels, and the source's mean shares said of every image."""

    images: int
    classifier: Off
    source_mean: Off


def quality(run: Path, spec: str) -> Quality:
    """Of a run of pivot on labelled images; UserError for another run, or where stages are missing.

    Its frozen network is built again from the run's settings.
    """
    info = checkpoint.read_info(run)
    made = run / "image_labels" / DONE
    if info.method != "pivot" or not made.is_file():
        raise UserError(
            f"{run} has no image_labels/ of a classifier: give a finished run of pivot that "
            "was trained without --image-labels"
        )
    told = info.settings
    config = FeaturesConfig(**{k: told[k] for k in FeaturesConfig.__dataclass_fields__})
    size = parse_size(config.features_size, "features-size") or info.work_size
    data = labelled(spec).mapped(info.class_map).with_classes(info.classes)
    network = frozen_network(config)
    P = classifier_of(run / "classifier" / "last.safetensors", network.channels, len(info.classes))
    truth = torch.stack([
        class_shares(torch.from_numpy(data.label(i)), len(info.classes)) for i in range(len(data))
    ])  # fmt: skip
    found = track(range(len(data)), "features", transient=True)
    seen = torch.stack([features_of(network, data, i, size) for i in found])
    with torch.inference_mode():
        said = P(seen).softmax(1)
    mean = torch.tensor(list(json.loads(made.read_text())["source_mean"].values()))
    known = truth.sum(1) > 0
    return Quality(
        int(known.sum()),
        off(truth[known], said[known]),
        off(truth[known], mean.expand_as(truth)[known]),
    )


def off(y: Float[Tensor, "n c"], p: Float[Tensor, "n c"]) -> Off:
    """How far the shares p are from the true y, all rows summing to one."""
    kl = torch.where(y > 0, y * (y.clamp(min=1e-12) / p.clamp(min=1e-6)).log(), 0.0).sum(1)
    return Off(float(kl.mean()), float((y - p).abs().mean()))
