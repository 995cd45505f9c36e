"""A pretrained classifier of images that only looks: the input of its last linear layer.

The document takes Inception-ResNet-v2's, which torchvision has not; here it is any classifier that
torchvision has.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path

import torch
import torchvision
from jaxtyping import Float
from torch import Tensor, nn

from adapt.networks.segmentor import Normalise
from adapt.networks.weights import read_weights
from roadshift import Failure, UserError, unknown


class FrozenNetwork(nn.Module):
    """RGB in [0, 1], [n, 3, h, w] -> features [n, channels], of a network of torchvision's."""

    def __init__(self, name: str) -> None:
        super().__init__()
        known = torchvision.models.list_models(module=torchvision.models)
        if name not in known:
            raise unknown("--features-network", name, known)
        self.name, self.normalise = name, Normalise.imagenet()
        with torch.random.fork_rng(devices=[]):  # without weights it is the same every time, too
            torch.manual_seed(0)
            self.net = torchvision.models.get_model(name, weights=None)
        last, layer = [(n, m) for n, m in self.net.named_modules() if isinstance(m, nn.Linear)][-1]
        self.channels = layer.in_features
        self.net.set_submodule(last, nn.Identity())
        self.eval().requires_grad_(False)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n k"]:
        """What the classifier would have decided by."""
        return self.net(self.normalise(x))

    def load(self, weights: str) -> None:
        """From imagenet (torchvision's download) or a file, or not at all (none).

        Raises UserError for weights of another network, Failure when they cannot be downloaded.
        """
        if weights == "none":
            return
        state = self._downloaded() if weights == "imagenet" else read_weights(Path(weights))
        wanted = {
            k: v for k, v in self.net.state_dict().items() if not k.endswith("num_batches_tracked")
        }
        wrong = [k for k, v in wanted.items() if k not in state or state[k].shape != v.shape]
        if wrong:
            found = tuple(state[wrong[0]].shape) if wrong[0] in state else "missing"
            raise UserError(
                f"--features-weights {weights} fits {len(wanted) - len(wrong)} of {len(wanted)} "
                f"tensors of {self.name}: {wrong[0]!r} is {found}, wanted "
                f"{tuple(wanted[wrong[0]].shape)}; give weights of this network in torchvision's "
                "layout, or another --features-network"
            )
        self.net.load_state_dict({k: state[k] for k in wanted}, strict=False)

    def _downloaded(self) -> Mapping[str, Tensor]:
        found = torchvision.models.get_model_weights(self.name)["IMAGENET1K_V1"]
        try:
            return found.get_state_dict(progress=False, check_hash=True)
        except (OSError, HTTPException, RuntimeError, pickle.UnpicklingError, EOFError) as error:
            raise Failure(
                f"the ImageNet weights of {self.name} could not be downloaded from {found.url}; "
                "pass --features-weights FILE"
            ) from error
