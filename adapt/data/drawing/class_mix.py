"""Source classes pasted on target images (Olsson et al., "ClassMix"; Tranheden et al., "DACS")."""

from __future__ import annotations

import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

from adapt.data.classes import IGNORE
from adapt.data.drawing.batches import Batch
from roadshift import UserError


def half_of_classes(y: UInt8[Tensor, "n h w"]) -> Bool[Tensor, "n h w"]:
    """Where an image has one of a random half (rounded up) of its own classes; never where 255.

    Olsson et al., "ClassMix", WACV 2021; Tranheden et al., "DACS", WACV 2021.
    """
    chosen = torch.zeros(len(y), 256, dtype=torch.bool, device=y.device)
    for i, label in enumerate(y):
        classes = torch.unique(label)
        classes = classes[classes != IGNORE]
        order = torch.randperm(len(classes), device=classes.device)
        chosen[i, classes[order[: (len(classes) + 1) // 2]].long()] = True
    return torch.stack([found[label.long()] for found, label in zip(chosen, y, strict=True)])


def class_mixed(batch: Batch) -> Batch:
    """The batch with source classes, and their labels, over the target's crops that have labels."""
    labelled = (batch.y_t != IGNORE).flatten(1).any(1)
    pasted = half_of_classes(batch.y_s) & labelled[:, None, None]
    return batch._replace(
        x_t=torch.where(pasted[:, None], batch.x_s, batch.x_t),
        y_t=torch.where(pasted, batch.y_s, batch.y_t),
    )


def mix_needs_labels(mix: bool, rounds: int) -> None:
    """UserError where source classes are to be mixed in, and no round has pseudo labels for it."""
    if mix and rounds < 2:
        raise UserError(
            "--mix pastes on crops that have pseudo labels, and the first round has none; "
            "wanted --rounds 2 or more, or no --mix"
        )
