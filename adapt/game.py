"""A training step as a game: every player has its own loss and moves only its own parameters."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributed import all_reduce, get_world_size, is_available, is_initialized
from torch.optim import Optimizer

Losses = dict[str, Tensor]


class Game:
    """The players of a method, by the paper's letters, each with the optimizer that moves it."""

    def __init__(self, **optimizers: Optimizer) -> None:
        self.optimizers = optimizers

    def play(self, **losses: Tensor) -> Losses:
        """Differentiate every loss by its own player's parameters, then move all players at once.

        Players that are given the very same tensor play together: it is differentiated once.
        Gradients are averaged over the processes of the run. Returns the detached losses by player.
        """
        sides: dict[int, list[str]] = {}
        for name, loss in losses.items():
            sides.setdefault(id(loss), []).append(name)
        last = list(sides.values())[-1]
        for names in sides.values():
            loss = losses[names[0]]
            own = [p for name in names for p in self._parameters(name)]
            with torch.autocast(loss.device.type, enabled=False):
                torch.autograd.backward(loss, inputs=own, retain_graph=names is not last)
            _average_over_processes(own)
        for name in losses:
            self.optimizers[name].step()
            self.optimizers[name].zero_grad()
        return {name: loss.detach() for name, loss in losses.items()}

    def state(self) -> dict[str, Optimizer]:
        """The optimizers by the names a checkpoint gives them."""
        return {f"optimizer_{name}": optimizer for name, optimizer in self.optimizers.items()}

    def _parameters(self, name: str) -> list[Tensor]:
        groups = self.optimizers[name].param_groups
        return [p for group in groups for p in group["params"] if p.requires_grad]


def _average_over_processes(parameters: list[Tensor]) -> None:
    if not (is_available() and is_initialized()) or get_world_size() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    all_reduce(flat)
    flat /= get_world_size()
    for g, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        g.copy_(mean.view_as(g))
