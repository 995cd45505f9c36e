"""What every segmentation network here answers, knows about itself, and can load."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from adapt.networks.upsampling import full_size
from roadshift import UserError

PROBED = 256
"""pixels a side of the image whose maps tell a network's strides and channels"""


class Segmented(NamedTuple):
    """Unnormalised class scores of the main and of the auxiliary head, both at low resolution.

    `features` are what the backbone's last stage gave; empty for a network that does not say.
    `skips` are what else of the backbone its head reads, the deepest last. `pre_logits` are what
    the last layer of its main head reads, the deepest first: its logits are linear in them. (Of
    FCN-8s, whose three lie differently on the image, fc7 alone.)
    """

    logits: Float[Tensor, "n c hs ws"]
    aux: Float[Tensor, "n c ha wa"]
    features: Float[Tensor, ...] = torch.empty(0)
    skips: tuple[Float[Tensor, "n _ _ _"], ...] = ()
    pre_logits: tuple[Float[Tensor, "n _ _ _"], ...] = ()

    @property
    def heads(self) -> tuple[Float[Tensor, "n c hs ws"], Float[Tensor, "n c ha wa"]]:
        """The scores of both heads."""
        return self.logits, self.aux


class Recipe(NamedTuple):
    """The training numbers a network starts from: `lr` is the heads' rate, the backbone's is
    `lr * backbone_scale`."""

    optimizer: Literal["sgd", "adam", "adamw"]
    lr: float
    backbone_scale: float
    weight_decay: float
    decay: str = "polynomial"
    """of the learning rate: one of `adapt.optimizers.DECAYS`"""


class Normalise(nn.Module):
    """RGB in [0, 1] to what the pretrained backbone was fed.

    The constants are buffers: they travel in checkpoints and exports. A network built for the other
    channel order does not load such a checkpoint, since only BGR has the buffer `order`.
    """

    mean: Tensor
    std: Tensor
    order: Tensor

    def __init__(
        self, mean: tuple[float, ...], std: tuple[float, ...], *, bgr: bool = False
    ) -> None:
        """`mean` and `std` are of values in [0, 1], in the network's own channel order."""
        super().__init__()
        self.bgr = bgr
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        if bgr:
            self.register_buffer("order", torch.tensor([2, 1, 0]))

    @classmethod
    def imagenet(cls) -> Normalise:
        """Group N2, RGB less mean over deviation: weights of torchvision and mmsegmentation."""
        return cls((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

    @classmethod
    def caffe(cls) -> Normalise:
        """Group N1, BGR 0..255 less mean: the Caffe weights of AdaptSegNet, ADVENT, BDL, LSD."""
        mean = (104.00698793 / 255, 116.66876762 / 255, 122.67891434 / 255)
        return cls(mean, (1 / 255, 1 / 255, 1 / 255), bgr=True)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
        """RGB in [0, 1] -> normalised, in the network's channel order."""
        if self.bgr:
            x = x.index_select(1, self.order)
        return (x - self.mean) / self.std


class Segmentor(nn.Module, ABC):
    """A network that segments; `backbone` holds what can be pretrained, everything else is head."""

    align_corners: ClassVar[bool]
    """How the logits are to be upsampled bilinearly."""
    recipe: ClassVar[Recipe]
    imagenet: ClassVar[WeightsEnum | None] = None
    """torchvision's own weights for the backbone, where it has any."""
    optional: ClassVar[tuple[str, ...]] = ()
    """Beginnings of the names of backbone tensors that a weights file may lack."""
    min_size: ClassVar[tuple[int, int]] = (32, 32)
    """The smallest (height, width) that it is meant and checked for."""

    backbone: Any  # an nn.Module; each network says which

    @abstractmethod
    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Segmented:
        """RGB in [0, 1] -> logits of both heads."""

    def probed(self) -> Segmented:
        """The shapes of what it answers to an image of `PROBED` pixels a side; nothing is computed.

        Raises UserError for a network that does not say its features.
        """
        with torch.device("meta"):
            shapes = type(self)(2).eval()(torch.empty(1, 3, PROBED, PROBED))
        if not shapes.features.numel():
            raise UserError(
                f"{type(self).__name__} does not say what its backbone saw: choose another "
                "--network"
            )
        return shapes

    def backbone_parameters(self) -> list[nn.Parameter]:
        """The parameters that `load_backbone` fills."""
        return list(self.backbone.parameters())

    def head_parameters(self) -> list[nn.Parameter]:
        """The parameters that always start from scratch: all but the backbone's."""
        pretrained = {id(p) for p in self.backbone_parameters()}
        return [p for p in self.parameters() if id(p) not in pretrained]

    def load_backbone(self, state: Mapping[str, Tensor]) -> int:
        """Copy the backbone's tensors out of `state`; returns how many.

        Takes torchvision's names, also behind `backbone.`, `module.` or `model.` (own checkpoints,
        torchvision's segmentation networks, wrappers); what else is in there, as a classifier, is
        not read. Raises UserError unless every tensor of the backbone is there in its shape.
        """
        given = self.translate(_bare(state))
        wanted = _required(self.backbone, given, self.optional)
        fitting = [name for name, shape in wanted.items() if _shape(given, name) == shape]
        missing = [name for name in wanted if name not in fitting]
        if missing:
            raise UserError(_misfit(type(self).__name__, given, wanted, missing))
        self.backbone.load_state_dict({name: given[name] for name in fitting}, strict=False)
        return len(fitting)

    def enlarged(
        self, z: Float[Tensor, "n k hs ws"], size: tuple[int, int]
    ) -> Float[Tensor, "n k h w"]:
        """A map that lies as `Segmented.features` do, bilinearly at the image's size."""
        return full_size(z, size, self.align_corners)

    def translate(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weights file's names and shapes -> the names and shapes of `self.backbone`."""
        return state


def _bare(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names without the prefixes that wrappers put before them."""
    return {
        name.removeprefix("module.").removeprefix("model.").removeprefix("backbone."): tensor
        for name, tensor in state.items()
    }


def _required(
    module: nn.Module, given: Mapping[str, Tensor], optional: tuple[str, ...]
) -> dict[str, torch.Size]:
    """What must be given: all but the batch counters, which old files lack, and the optional."""
    return {
        name: tensor.shape
        for name, tensor in module.state_dict().items()
        if not name.endswith("num_batches_tracked")
        and (name in given or not name.startswith(optional))
    }


def _shape(state: Mapping[str, Tensor], name: str) -> torch.Size | None:
    return state[name].shape if name in state else None


def _misfit(
    network: str,
    given: Mapping[str, Tensor],
    wanted: Mapping[str, torch.Size],
    missing: Sequence[str],
) -> str:
    """The one sentence for weights of another network."""
    name = missing[0]
    shape = _shape(given, name)
    found = "is missing" if shape is None else f"has shape {tuple(shape)}"
    return (
        f"the weights fit {len(wanted) - len(missing)} of {len(wanted)} backbone tensors of "
        f"{network}: {name!r} {found}, wanted shape {tuple(wanted[name])} ({len(given)} tensors "
        f"were given, the first is {next(iter(given), None)!r}); "
        f"give weights of this network in torchvision's layout"
    )
