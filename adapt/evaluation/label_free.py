"""What can be told of a segmentor on images without a label, and how well that ranks segmentors.

    entropy       mean entropy of a pixel's probabilities, over log C: 0 sure, 1 not at all
    information   mutual information: the entropy of the mean probabilities less that, over log C
    diversity     exp of the entropy of the mean probabilities: as many classes, 1 to C
    density       soft neighbourhood density (Saito et al., ICCV 2021), over log of the pixels drawn
    flip          share of pixels with the same label in the mirrored image
    scale         share of pixels with the same label at three quarters of the size

None of them says how right it is: `study signals` sets them beside the truth where there is one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from adapt.data.datasets import Images
from adapt.evaluation.evaluate import evaluating, logits_of
from adapt.networks.segmentor import Segmentor
from adapt.networks.upsampling import full_size

BETTER = {"entropy": -1, "information": 1, "diversity": 1, "density": 1, "flip": 1, "scale": 1}
"""whether more of it (1) or less is expected of the better segmentor"""
BEST = "information"
"""which of them `compare` shows, see bench/results/label_free.md"""
MEANING = "the entropy of the mean probabilities less the mean of the pixels', over log C"
DRAWN = 500
"""pixels of each image whose neighbourhood is looked at"""
TEMPERATURE = 0.05
"""of their similarities, as published"""
SMALLER = 0.75


def label_free(
    segmentor: Segmentor, images: Images, size: tuple[int, int] | None, count: int
) -> dict[str, float]:
    """The signals above, on `count` evenly spaced images seen at `size` (height, width)."""
    chosen = np.linspace(0, len(images) - 1, min(count, len(images))).astype(int)
    device = next(segmentor.parameters()).device
    each: list[dict[str, float]] = []
    mean: list[Float[Tensor, " c"]] = []
    with evaluating(segmentor):
        for i in chosen.tolist():
            image = torch.from_numpy(images.image(i))[None].to(device)
            p = _probabilities(segmentor, image, size)
            mean.append(p.mean((0, 2, 3)))
            each.append(_of_one(segmentor, image, size, p))
    classes = len(mean[0])
    whole = float(entropy(torch.stack(mean).mean(0), 0))
    found = {name: float(np.mean([one[name] for one in each])) for name in each[0]}
    found["information"] = whole / math.log(classes) - found["entropy"]
    found["diversity"] = math.exp(whole)
    return {name: found[name] for name in BETTER}


def _of_one(
    segmentor: Segmentor,
    image: UInt8[Tensor, "1 h w 3"],
    size: tuple[int, int] | None,
    p: Float[Tensor, "1 c hs ws"],
) -> dict[str, float]:
    labels, low = p.argmax(1), (p.shape[2], p.shape[3])
    mirrored = _probabilities(segmentor, image.flip(2), size).flip(3).argmax(1)
    height, width = size or (image.shape[1], image.shape[2])
    smaller = (round(height * SMALLER), round(width * SMALLER))
    scaled = full_size(_probabilities(segmentor, image, smaller), low, segmentor.align_corners)
    return {
        "entropy": float(entropy(p, 1).mean()) / math.log(p.shape[1]),
        "density": density(p),
        "flip": float((labels == mirrored).float().mean()),
        "scale": float((labels == scaled.argmax(1)).float().mean()),
    }


def _probabilities(
    segmentor: Segmentor, image: UInt8[Tensor, "1 h w 3"], size: tuple[int, int] | None
) -> Float[Tensor, "1 c hs ws"]:
    return logits_of(segmentor, image, size).float().softmax(1)


def entropy(p: Float[Tensor, "*n"], dim: int) -> Float[Tensor, "*m"]:
    """In nats, over the dimension `dim`."""
    return -(p * p.clamp(min=1e-12).log()).sum(dim)


def density(p: Float[Tensor, "1 c hs ws"]) -> float:
    """Entropy of how alike a pixel's probabilities are to the others', over log of their number.

    1: every pixel is as near to all others as to any; low: neighbours few and far.
    """
    x = p[0].flatten(1).T
    drawn: Int64[Tensor, " k"] = torch.linspace(0, len(x) - 1, min(DRAWN, len(x))).long()
    x = torch.nn.functional.normalize(x[drawn.to(x.device)], dim=1)
    near = (x @ x.T / TEMPERATURE).fill_diagonal_(-math.inf).softmax(1)
    return float(entropy(near, 1).mean()) / math.log(max(len(x) - 1, 2))


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's: Pearson's of the ranks, ties sharing theirs; nan where one side does not vary."""
    x, y = (_ranks(values) for values in (a, b))
    x, y = x - x.mean(), y - y.mean()
    norm = math.sqrt(float((x**2).sum() * (y**2).sum()))
    return float((x * y).sum()) / norm if norm else math.nan


def ranking(rows: Sequence[Mapping[str, Any]], truth: Sequence[float]) -> dict[str, float]:
    """Of every signal the rank correlation with the truth, its sign turned so that 1 is perfect."""
    return {
        name: sign * rank_correlation([row[name] for row in rows], truth)
        for name, sign in BETTER.items()
    }


def _ranks(values: Sequence[float]) -> np.ndarray:
    x = np.asarray(values, float)
    return np.array([(np.sum(x < v) + np.sum(x <= v) - 1) / 2 for v in x])
