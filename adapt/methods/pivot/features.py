"""The stage `features`: what a frozen network makes of every image of both cities, once, on disk.

SOURCE/000000.safetensors and so on hold the features of so many images, of the source their class
shares as well; made.json says of which network and which images they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from rich.progress import track
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from adapt import saved_state
from adapt.data.cities import Cities
from adapt.data.datasets import Images, LabelledImages
from adapt.data.image_labels import class_shares
from adapt.evaluation.features import Sizes
from adapt.methods.pivot.frozen_network import FrozenNetwork
from adapt.stages.made import DONE, write_missing
from adapt.stages.progress_pictures import to_batch
from adapt.stages.runner import Making
from roadshift import UserError

AT_ONCE = 256
"""images in a file"""


@dataclass(frozen=True, kw_only=True)
class FeaturesConfig:
    """Whose features, and at which size images are seen."""

    features_network: str = "mobilenet_v2"
    """a classifier of torchvision's, or timm:NAME; the document's is timm:inception_resnet_v2"""
    features_weights: str = "imagenet"
    """imagenet (downloaded), none, or a .safetensors / .pth file of that network"""
    features_size: str = ""
    """HxW that images are resized to for it; "" for --source-size and --size"""


class Features(NamedTuple):
    """Of both cities' images, in their order; and the source's class shares."""

    source: Float[Tensor, "n k"]
    shares: Float[Tensor, "n c"]
    target: Float[Tensor, "m k"]


def frozen_network(config: FeaturesConfig, device: torch.device | str = "cpu") -> FrozenNetwork:
    """The network with its weights; UserError for an unknown one, or weights of another."""
    network = FrozenNetwork(config.features_network)
    network.load(config.features_weights)
    return network.to(device)


def features(config: FeaturesConfig, cities: Cities, sizes: Sizes, device: torch.device) -> Making:
    """The stage that leaves both cities' features."""
    facts = made_of(config, cities, sizes)
    make = partial(_make, partial(frozen_network, config, device), cities, sizes, facts)
    return Making(name="features", needs=(), settings=facts, shared=True, make=make)


def made_of(config: FeaturesConfig, cities: Cities, sizes: Sizes) -> dict[str, Any]:
    """By which features are known to be of this network, these images and classes."""
    weights = config.features_weights
    if Path(weights).is_file():
        weights = saved_state.fingerprint(Path(weights))
    return {
        "network": config.features_network,
        "weights": weights,
        "source_size": list(sizes.source or ()),
        "target_size": list(sizes.target or ()),
        "source": cities.source.fingerprint,
        "target": cities.target.content,
    }


def read_features(folder: Path, wanted: Mapping[str, Any]) -> Features:
    """What a finished stage left; UserError unless it is of what is `wanted` (`made_of`)."""
    if not (folder / DONE).is_file():
        raise UserError(
            f"{folder} holds no finished features: give the folder features/ of a run of pivot, "
            "or leave --features out"
        )
    found = json.loads((folder / DONE).read_text())
    for key, value in wanted.items():
        if found.get(key) != value:
            raise UserError(
                f"{folder} holds features of another {key}: {found.get(key)} there and {value} "
                "here; leave --features out, or give the settings that they were made with"
            )
    source, target = (
        [load_file(p) for p in sorted((folder / city).iterdir())] for city in ("source", "target")
    )
    return Features(
        torch.cat([part["features"] for part in source]),
        torch.cat([part["shares"] for part in source]),
        torch.cat([part["features"] for part in target]),
    )


def features_of(
    network: FrozenNetwork, images: Images | LabelledImages, i: int, size: tuple[int, int] | None
) -> Float[Tensor, " k"]:
    """Of image i, on the CPU."""
    with torch.inference_mode():
        return network(to_batch(images.image(i), network, size))[0].float().cpu()


def _make(
    build: Callable[[], FrozenNetwork],
    cities: Cities,
    sizes: Sizes,
    facts: Mapping[str, Any],
    folder: Path,
) -> Mapping[str, object]:
    """Every file that is missing."""
    network = build()
    for city, images, size in zip(("source", "target"), cities, sizes, strict=True):
        for start in track(range(0, len(images), AT_ONCE), f"features of the {city}"):
            path = folder / city / f"{start:06d}.safetensors"
            if not path.is_file():
                some = range(start, min(start + AT_ONCE, len(images)))
                found = {
                    "features": torch.stack([features_of(network, images, i, size) for i in some])
                }
                if isinstance(images, LabelledImages):
                    found["shares"] = torch.stack(list(_shares(images, some)))
                write_missing(path, to_bytes(found))
    return facts


def _shares(source: LabelledImages, some: range) -> Iterator[Float[Tensor, " c"]]:
    for i in some:
        yield class_shares(torch.from_numpy(source.label(i)), len(source.classes))
