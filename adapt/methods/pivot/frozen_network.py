"""A pretrained classifier of images that only looks: the input of its last linear layer.

The document takes Inception-ResNet-v2's, which timm has (`timm:inception_resnet_v2`); any other of
timm's or torchvision's that takes images of every size does as well.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from http.client import HTTPException
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torchvision
from jaxtyping import Float
from torch import Tensor, nn

from adapt.networks.segmentor import Normalise
from adapt.networks.weights import read_weights
from roadshift import Failure, UserError, unknown

TIMM = "timm:"
NOT_OURS = re.compile("vit_|maxvit|squeezenet")
"""torchvision's that take images of one size, or end in no linear layer"""
OWN_INPUT = ("googlenet", "inception_v3")
"""those that change ImageNet's normalisation to their own, where they are told to"""


class _Built(NamedTuple):
    """A network without its last layer, what that was given, and how images are normalised."""

    net: nn.Module
    channels: int
    normalise: Normalise


class FrozenNetwork(nn.Module):
    """RGB in [0, 1], [n, 3, h, w] -> features [n, channels], of torchvision's NAME or `timm:NAME`.

    Raises UserError for one that there is not, or without timm.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        make = _of_timm if name.startswith(TIMM) else _of_torchvision
        with torch.random.fork_rng(devices=[]):  # without weights it is the same every time, too
            torch.manual_seed(0)
            self.net, self.channels, self.normalise = make(name.removeprefix(TIMM))
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
        try:
            if self.name.startswith(TIMM):
                name, timm = self.name.removeprefix(TIMM), _timm()
                return timm.create_model(name, pretrained=True, num_classes=0).state_dict()
            return _weights_of(self.name).get_state_dict(progress=False, check_hash=True)
        except (OSError, HTTPException, RuntimeError, pickle.UnpicklingError, EOFError) as error:
            raise Failure(
                f"the ImageNet weights of {self.name} could not be downloaded ({error}); "
                "pass --features-weights FILE"
            ) from error


def _of_torchvision(name: str) -> _Built:
    models: Any = torchvision.models
    known = [each for each in models.list_models(module=models) if not NOT_OURS.match(each)]
    if name not in known:
        raise unknown("--features-network", name, known)
    more = {"transform_input": True, "init_weights": False} if name in OWN_INPUT else {}
    net = models.get_model(name, weights=None, **more)
    last, layer = [(n, m) for n, m in net.named_modules() if isinstance(m, nn.Linear)][-1]
    net.set_submodule(last, nn.Identity())
    seen = _weights_of(name).transforms()
    return _Built(net, layer.in_features, Normalise(tuple(seen.mean), tuple(seen.std)))


def _weights_of(name: str) -> Any:
    """torchvision's first for it."""
    found: Any = torchvision.models.get_model_weights(name)
    return getattr(found, "IMAGENET1K_V1", found.DEFAULT)


def _of_timm(name: str) -> _Built:
    timm = _timm()
    if not timm.is_model(name):
        raise UserError(f"timm has no network {name!r}: timm.list_models() says which it has")
    net = timm.create_model(name, num_classes=0)
    seen = net.default_cfg
    return _Built(net, net.num_features, Normalise(seen["mean"], seen["std"]))


def _timm() -> Any:
    try:
        return import_module("timm")
    except ImportError as error:
        raise UserError(
            f"--features-network timm:… needs roadshift[timm]: pip install it ({error})"
        ) from error
