"""One segmentor, images of two cities: whose statistics its batch norms see.

While the target has no labels, how it passes the batch norms decides much of what adaptation gains
or loses: with `joint` both cities' activations are normalised by common statistics, which pulls
their features together whether that is right or not.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

from adapt.networks.segmentor import Segmented, Segmentor

TargetNorm = Literal["joint", "separate", "source"]


def pass_both(
    segmentor: Segmentor,
    x_s: Float[Tensor, "n 3 h w"],
    x_t: Float[Tensor, "m 3 h w"],
    norm: TargetNorm,
) -> tuple[Segmented, Segmented]:
    """What it makes of both cities' images, RGB in [0, 1].

    joint: one pass, common batch statistics. separate: each city by its own batch statistics, both
    counted in the running ones. source: the target by the running statistics, which the source
    alone moves; this is what it meets when it is deployed.
    """
    if norm == "joint":
        return _halves(segmentor(torch.cat([x_s, x_t])), len(x_s))
    out_s = segmentor(x_s)
    if norm == "separate":
        return out_s, segmentor(x_t)
    with running_statistics(segmentor):
        return out_s, segmentor(x_t)


@contextmanager
def running_statistics(network: nn.Module) -> Generator[None]:
    """Batch norms use their running statistics and leave them alone; gradients go on."""
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.training]
    for layer in norms:
        layer.training = False
    try:
        yield
    finally:
        for layer in norms:
            layer.training = True


def _halves(out: Segmented, n: int) -> tuple[Segmented, Segmented]:
    def part(which: slice) -> Segmented:
        features = out.features[which] if out.features.numel() else out.features
        skips, read = (tuple(z[which] for z in maps) for maps in (out.skips, out.pre_logits))
        return Segmented(out.logits[which], out.aux[which], features, skips, read)

    return part(slice(n)), part(slice(n, None))
