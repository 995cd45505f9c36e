"""Losses: pure functions to a scalar mean; ignored pixels (255) are handled here, once."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.distributed import all_reduce, get_world_size, is_available, is_initialized
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.functional import cross_entropy as torch_cross_entropy

from adapt.data.classes import IGNORE

SOURCE, TARGET = 0.0, 1.0


def mean_over_processes(x: Tensor) -> Tensor:
    """The mean of every process's x."""
    if is_available() and is_initialized():
        x = x.clone()
        all_reduce(x)
        x = x / get_world_size()
    return x


def masked_mean(x: Float[Tensor, "n h w"], mask: Bool[Tensor, "n h w"]) -> Float[Tensor, ""]:
    """Mean of x where the mask is, over the whole batch, over all processes; 0 where it is nowhere.

    As in `cross_entropy`, each process divides by the mean number of such pixels per process.
    """
    count = mean_over_processes(mask.sum().to(torch.float32))
    return (x.float() * mask).sum() / count.clamp(min=1)


def minus_log_mean(
    x: Float[Tensor, "n h w"], mask: Bool[Tensor, "n h w"], smallest: float = 1e-6
) -> Float[Tensor, ""]:
    """-log of the `masked_mean` of x >= 0 over all processes; 0 where the mask is nowhere.

    The averaged gradients are those of one process: d log m = dm / m with the m of all of them.
    """
    own, count = masked_mean(x, mask), mean_over_processes(mask.sum().to(torch.float32))
    m = mean_over_processes(own.detach())
    log = -m.clamp(min=smallest).log() - (own - own.detach()) / m.clamp(min=smallest)
    return torch.where(count > 0, log, 0 * own)


def cross_entropy(logits: Float[Tensor, "n c h w"], y: UInt8[Tensor, "n h w"]) -> Float[Tensor, ""]:
    """Mean over the labelled pixels of the whole batch, over all processes; 0 when there is none.

    Each process divides by the mean number of labelled pixels per process, so the averaged
    gradients are those of one process with the whole batch.
    """
    labelled = mean_over_processes((y != IGNORE).sum().to(torch.float32))
    total = torch_cross_entropy(logits.float(), y.long(), ignore_index=IGNORE, reduction="sum")
    return total / labelled.clamp(min=1)


def weighted_cross_entropy(
    logits: Float[Tensor, "n c h w"], y: UInt8[Tensor, "n h w"], w: Float[Tensor, "n h w"]
) -> Float[Tensor, ""]:
    """Mean over all pixels of the weight times the cross-entropy; 0 where y is 255 (as DACS).

    Pixels that count little make the loss small: nothing divides by the sum of the weights.
    """
    each = torch_cross_entropy(logits.float(), y.long(), ignore_index=IGNORE, reduction="none")
    return (w * each).mean()


def weighted_self_information(p: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """-p log2 p / log2 C per class: ADVENT's entropy map, summing to the normalised entropy."""
    return -p * torch.log2(p + 1e-30) / math.log2(p.shape[1])


def probability(p: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """The probability map itself: AdaptSegNet's input to the discriminator."""
    return p


def cross_entropy_to(d: Float[Tensor, "n 1 h w"], domain: float) -> Float[Tensor, ""]:
    """Binary cross-entropy of the discriminator's logits to a constant domain: vanilla GAN."""
    return binary_cross_entropy_with_logits(d.float(), torch.full_like(d, domain).float())


def least_squares_to(d: Float[Tensor, "n 1 h w"], domain: float) -> Float[Tensor, ""]:
    """Mean squared distance of the discriminator's outputs to a constant domain: LSGAN."""
    return (d.float() - domain).square().mean()


DISCRIMINATOR_INPUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "probability": probability,
    "entropy": weighted_self_information,
}
ADVERSARIAL_LOSSES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "vanilla": cross_entropy_to,
    "least_squares": least_squares_to,
}
