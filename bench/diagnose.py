"""Why a pair of cities is hard: class shares on both sides, and what batch statistics are worth.

    python bench/diagnose.py RUN... --source SPEC --target SPEC --scored-on SPEC

Prints each class's share of the labelled pixels of every fifth image (target labels are read to
explain a result, after training), and each run's mIoU with its batch-norm statistics moved towards
those of 120 target images by several shares of the way (1: AdaBN, Li et al., 2017). Before that,
how sure each run is of what it predicts there: what a threshold would keep of a class.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import nn

from adapt import checkpoint
from adapt.data.datasets import labelled, unlabelled
from adapt.evaluation.evaluate import Views, evaluate, evaluating, logits_of
from adapt.networks import Segmentor


def shares(spec: str, classes: tuple[str, ...]) -> dict[str, float]:
    """Percent of the labelled pixels by class."""
    data = labelled(spec).with_classes(classes)
    counts = np.zeros(256)
    for i in range(0, len(data), 5):
        counts += np.bincount(data.label(i).ravel(), minlength=256)
    total = counts[: len(classes)].sum()
    return {name: round(float(100 * counts[k] / total), 1) for k, name in enumerate(classes)}


def adapt_batch_norm(segmentor: Segmentor, target: str, work: tuple[int, int] | None) -> None:
    """Replace all running statistics by the mean ones of 15 batches of 8 target images."""
    images = unlabelled(target)
    for layer in norms(segmentor):
        layer.reset_running_stats()
        layer.momentum = None
    segmentor.train()
    chosen = np.linspace(0, len(images) - 1, 120).astype(int).reshape(15, 8)
    with torch.inference_mode():
        for rows in chosen:
            batch = np.stack([images.image(int(i)) for i in rows])
            logits_of(segmentor, torch.from_numpy(batch), work)


def sureness(segmentor: Segmentor, target: str, work: tuple[int, int] | None) -> list[str]:
    """By class, of 120 target images: percent predicted, median confidence, percent above 0.7."""
    images, bins = unlabelled(target), 100
    classes = len(logits_of(segmentor, torch.from_numpy(images.image(0))[None], work)[0])
    counts = torch.zeros(classes, bins)
    with evaluating(segmentor):
        for i in np.linspace(0, len(images) - 1, 120).astype(int).tolist():
            x = torch.from_numpy(images.image(i))[None]
            p, y = logits_of(segmentor, x, work).softmax(1).max(1)
            place = (y * bins + (p * bins).long().clamp(max=bins - 1)).flatten()
            counts += torch.bincount(place, minlength=counts.numel()).view_as(counts)
    told: list[str] = []
    for row in counts:
        total = float(row.sum())
        median = float((row.cumsum(0) < total / 2).sum()) / bins
        above = 100 * float(row[int(0.7 * bins) :].sum()) / max(total, 1)
        told.append(f"{100 * total / float(counts.sum()):.1f} / {median:.2f} / {above:.0f}")
    return told


def norms(segmentor: Segmentor) -> list[nn.BatchNorm2d]:
    """Every layer that keeps running statistics."""
    return [layer for layer in segmentor.modules() if isinstance(layer, nn.BatchNorm2d)]


def statistics(segmentor: Segmentor) -> list[torch.Tensor]:
    """Copies of all running means and variances."""
    return [
        t.clone()
        for n in norms(segmentor)
        for t in (n.running_mean, n.running_var)
        if t is not None
    ]


def set_statistics(segmentor: Segmentor, wanted: list[torch.Tensor]) -> None:
    """Those of `statistics`, put back."""
    kept = [t for n in norms(segmentor) for t in (n.running_mean, n.running_var) if t is not None]
    for tensor, value in zip(kept, wanted, strict=True):
        tensor.copy_(value)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    for option in ("--source", "--target", "--scored-on"):
        parser.add_argument(option, required=True)
    parser.add_argument("--shares", nargs="*", type=float, default=(0, 0.1, 0.3, 1))
    asked = parser.parse_args()
    classes = checkpoint.read_info(asked.runs[0]).classes
    for spec in (asked.source, asked.target, asked.scored_on):
        print(spec, shares(spec, classes), flush=True)
    for run in asked.runs:
        segmentor, info, _ = checkpoint.read(run)
        data, views = labelled(asked.scored_on).with_classes(classes), Views(size=info.work_size)
        told = zip(classes, sureness(segmentor, asked.target, info.work_size), strict=True)
        print(f"{run}: predicted %, median confidence, % above 0.7: {dict(told)}", flush=True)
        own = statistics(segmentor)
        adapt_batch_norm(segmentor, asked.target, info.work_size)
        of_target = statistics(segmentor)
        for share in asked.shares:
            mixed = [torch.lerp(a, b, share) for a, b in zip(own, of_target, strict=True)]
            set_statistics(segmentor, mixed)
            miou = evaluate(segmentor, data, views).miou
            print(f"{run}: target statistics by {share:g}: mIoU {miou:.1f}", flush=True)


if __name__ == "__main__":
    main()
