"""Cross-domain retrieval (Sankaranarayanan et al., CVPR 2018, section 5.4).

Images of both cities form the pool X; others ask. Of the k nearest in X by cosine similarity,
|A_k| are on average from the target where source images ask, |B_k| from the source where target
images ask. The more, the less the features tell the cities apart; if nothing does, k times the
other city's share of X. mAP is the mean over queries of the average precision of the other city.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from adapt.data.datasets import Images
from adapt.evaluation.features import Sizes, pooled
from adapt.networks.segmentor import Segmentor
from roadshift import UserError


class Retrieved(NamedTuple):
    """Of the other city, on average among the k nearest for k = 1, 2, ...; and the mAP in 0..1."""

    found: list[float]
    mean_average_precision: float


class Retrieval(NamedTuple):
    """Source images ask (|A_k|), target images ask (|B_k|); how many there are."""

    source_asks: Retrieved
    target_asks: Retrieved
    pool: int
    queries: int


class Split(NamedTuple):
    """Images of one city that lie in the pool, and others that ask."""

    pool: list[int]
    queries: list[int]


def split(images: int, count: int) -> Split:
    """Every other one of 2 `count` evenly spaced images asks; fewer where there are fewer."""
    many = min(2 * count, images)
    chosen = torch.linspace(0, images - 1, many).long().tolist()
    return Split(chosen[::2], chosen[1::2])


def retrieval(
    segmentor: Segmentor,
    cities: tuple[Images, Images],
    sizes: Sizes,
    count: int,
) -> Retrieval:
    """Of `count` images a city in the pool, and as many others that ask.

    Raises UserError where a city has fewer than two images.
    """
    pools: list[Float[Tensor, "n k"]] = []
    queries: list[Float[Tensor, "n k"]] = []
    for images, size in zip(cities, sizes, strict=True):
        if len(images) < 2:
            raise UserError(f"{images.spec} has one image; wanted at least two, one of which asks")
        parts = split(len(images), count)
        pools.append(pooled(segmentor, images, parts.pool, size))
        queries.append(pooled(segmentor, images, parts.queries, size))
    is_target = torch.arange(len(pools[0]) + len(pools[1])) >= len(pools[0])
    X = torch.cat(pools)  # noqa: N806 - the paper's letter
    return Retrieval(
        retrieved(queries[0], X, is_target),
        retrieved(queries[1], X, ~is_target),
        len(X),
        len(queries[0]) + len(queries[1]),
    )


def retrieved(
    queries: Float[Tensor, "q k"], pool: Float[Tensor, "n k"], wanted: Bool[Tensor, " n"]
) -> Retrieved:
    """How many of the pool's `wanted` are among the nearest of each query, ranked by cosine."""
    near = normalize(queries, dim=1) @ normalize(pool, dim=1).T
    ranked = wanted[near.sort(dim=1, descending=True, stable=True).indices].float()
    found = ranked.cumsum(1)
    precision = found / torch.arange(1, len(pool) + 1)
    average = (precision * ranked).sum(1) / ranked.sum(1)
    return Retrieved(found.mean(0).tolist(), float(average.mean()))
