"""What can be told of a run without a label: how sure it is of the target, and of how many classes.

None of these says how right it is. A run that collapses shows in them: the diversity falls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from adapt.data.datasets import Images
from adapt.evaluation.evaluate import evaluating, logits_of
from adapt.evaluation.label_free import BETTER, entropy
from adapt.networks.segmentor import Segmentor

IMAGES = 8
SIGNS = BETTER | {"agreement": 1}
"""whether more or less of a signal is taken for better by --keep-best-by"""


def signals(
    segmentors: Sequence[Segmentor], images: Images, size: tuple[int, int] | None
) -> dict[str, float]:
    """Of the first segmentor on evenly spaced images, its logits at low resolution.

    target_entropy: mean entropy of a pixel's probabilities over log C, 0 (sure) to 1.
    target_diversity: exp of the entropy of the mean probabilities: as many classes, 1 to C.
    target_information: mutual information of pixels and classes, the entropy of the mean
    probabilities less the mean entropy, over log C: 1 is sure everywhere, and of every class alike.
    target_agreement: where there is a second segmentor, the share of pixels with its labels.
    """
    chosen = np.linspace(0, len(images) - 1, min(IMAGES, len(images))).astype(int)
    unsure, agreed, mean = list[float](), list[float](), list[Tensor]()
    for i in chosen.tolist():
        first, *others = (_logits(segmentor, images.image(i), size) for segmentor in segmentors)
        p = first.softmax(1)
        unsure.append(float(entropy(p, 1).mean()) / math.log(p.shape[1]))
        mean.append(p.mean((0, 2, 3)))
        agreed += [float((first.argmax(1) == z.argmax(1)).float().mean()) for z in others]
    whole, classes = float(entropy(torch.stack(mean).mean(0), 0)), len(mean[0])
    found = {
        "target_entropy": float(np.mean(unsure)),
        "target_diversity": math.exp(whole),
        "target_information": whole / math.log(classes) - float(np.mean(unsure)),
    }
    return found | ({"target_agreement": float(np.mean(agreed))} if agreed else {})


def score_by(name: str, signals: Callable[[], Mapping[str, float]]) -> Callable[[], float] | None:
    """What --keep-best-by asks of a checkpoint, the more the better; None where it asks nothing."""
    return (lambda: SIGNS[name] * signals()[f"target_{name}"]) if name else None


def _logits(segmentor: Segmentor, image: np.ndarray, size: tuple[int, int] | None) -> Tensor:
    device = next(segmentor.parameters()).device
    with evaluating(segmentor):
        return logits_of(segmentor, torch.from_numpy(image)[None].to(device), size).float()
