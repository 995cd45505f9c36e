"""The optimizers of a run: the network's published recipe unless the run says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from adapt.networks.segmentor import Segmentor
from adapt.run import Run

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
    parameters: Iterable[nn.Parameter], lr: float, *, decay: str, weight_decay: float = 0.0
) -> Optimizer:
    """Adam with betas (0.5, 0.999), as CycleGAN and pix2pixHD train all of their networks."""
    group = {"params": list(parameters), "decay": decay}
    return Adam([group], lr=lr, betas=(0.5, 0.999), weight_decay=weight_decay)
