"""The optimizers of a run: the network's published recipe unless the run says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from adapt.networks.segmentor import Segmentor
from adapt.run import Run

LEVELS = 10.0
"""How many times faster than its convolutions a translator's levels learn: after 374 of 500 steps
on day to dusk what StarGAN draws is 40 % of the way to dusk's light, 30 % without
(bench/NOTES.md)."""
DECAYS: dict[str, Callable[[int, int], float]] = {
    "polynomial": lambda step, steps: (1 - step / steps) ** 0.9,
    "linear": lambda step, steps: 1 - step / steps,
    "to_a_hundredth": lambda step, steps: 0.01 ** (step / steps),
    "halved_ten_times": lambda step, steps: 0.5 ** (10 * step // steps),
    "tenth_every_50k": lambda step, _: 0.1 ** (step // 50_000),
}
"""What a learning rate is multiplied by at a step of so many; a group's "decay" names its own."""


def segmentor_optimizer(segmentor: Segmentor, run: Run) -> Optimizer:
    """One optimizer with two groups: new layers at `lr`, the backbone at `lr * backbone_scale`."""
    recipe = segmentor.recipe
    kind = run.optimizer or recipe.optimizer
    lr = recipe.lr if run.lr is None else run.lr
    scale = recipe.backbone_scale if run.backbone_scale is None else run.backbone_scale
    decay = recipe.weight_decay if run.weight_decay is None else run.weight_decay
    groups = [
        {"params": segmentor.backbone_parameters(), "lr": lr * scale, "decay": recipe.decay},
        {"params": segmentor.head_parameters(), "lr": lr, "decay": recipe.decay},
    ]
    if kind == "sgd":
        return SGD(groups, momentum=0.9, weight_decay=decay)
    if kind == "adam":
        return Adam(groups, betas=(0.9, 0.99), weight_decay=decay)
    return AdamW(groups, weight_decay=decay)


def discriminator_optimizer(parameters: Iterable[nn.Parameter], lr: float) -> Optimizer:
    """Adam with betas (0.9, 0.99), as AdaptSegNet and ADVENT train their discriminators."""
    return Adam([{"params": list(parameters), "decay": "polynomial"}], lr=lr, betas=(0.9, 0.99))


def image_optimizer(
    networks: Iterable[nn.Module], lr: float, *, decay: str, weight_decay: float = 0.0
) -> Optimizer:
    """Adam with betas (0.5, 0.999), as CycleGAN and pix2pixHD train all of their networks.

    A translator's `levels`, a few weights that carry how light and how contrasty a city is, learn
    at LEVELS times the rate: a weight moves by about the rate a step, and they have far to go.
    """
    named = [one for network in networks for one in network.named_parameters()]
    levels = [p for name, p in named if name.startswith("levels.")]
    group: dict[str, Any] = {
        "params": [p for name, p in named if not name.startswith("levels.")],
        "decay": decay,
    }
    groups = [group, {"params": levels, "decay": decay, "lr": LEVELS * lr}] if levels else [group]
    return Adam(groups, lr=lr, betas=(0.5, 0.999), weight_decay=weight_decay)
