"""How far two segmentors agree on a pixel, and what both are sure of (symmetric adaptation)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Literal, cast

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from adapt.evaluation.evaluate import Views
from adapt.networks.segmentor import Segmentor
from adapt.networks.segmentors.fused import Fused
from adapt.stages.pseudo_labels import Confident

Map = Float[Tensor, "n c h w"]
Size = tuple[int, int] | None


def jensen_shannon(p: Map, q: Map) -> Float[Tensor, "n h w"]:
    """1 - JS(p, q) / ln 2, in 0..1: 1 for equal distributions, 0 for those that exclude each other.

    Symmetric and bounded as the mean with M_prob needs it. Near agreement it is quadratic: two
    models that differ a little, as any two do, count as one, and M_prob decides.
    """
    m = (p + q) / 2
    entropies = [-(x * x.clamp(min=1e-12).log()).sum(1) for x in (m, p, q)]
    return 1 - (entropies[0] - (entropies[1] + entropies[2]) / 2).clamp(min=0) / math.log(2)


def overlap(p: Map, q: Map) -> Float[Tensor, "n h w"]:
    """The probability that both share, sum of min(p, q), in 0..1: 1 - their total variation."""
    return torch.minimum(p, q).sum(1)


Consistency = Literal["jensen_shannon", "overlap", "none"]
CONSISTENCY: dict[str, Callable[[Map, Map], Tensor]] = {
    "jensen_shannon": jensen_shannon,
    "overlap": overlap,
}


def judged(p: Map, q: Map, how: Consistency) -> Confident:
    """The label of the mean of A's and B's probabilities, with M_total as its confidence.

    M_prob is the label's mean probability, M_consist how far both agree by `how`; with "none"
    M_total is M_prob.
    """
    m_prob, labels = ((p + q) / 2).max(1)
    total = m_prob if how == "none" else (m_prob + CONSISTENCY[how](p, q)) / 2
    return Confident(labels.to(torch.uint8), total)


def probabilities(
    both: Segmentor, image: UInt8[Tensor, "1 h w 3"], views: Views
) -> list[Float[Tensor, "1 c h w"]]:
    """Of A and of B, at the image's own size, as they are when deployed; they see it by `views`."""
    return [views.full_size(one, image) for one in cast(Fused, both).each]


def opinion(
    how: Consistency, views: Views, both: Segmentor, image: UInt8[Tensor, "1 h w 3"], size: Size
) -> Confident:
    """What both make of an image, see `judged`."""
    p, q = probabilities(both, image, replace(views, size=size))
    return judged(p, q, how)
