"""Pretrained weights: read from a file or fetched by torchvision, and put into a segmentor."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from adapt.networks.segmentor import Segmentor
from roadshift import Failure, UserError


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a .safetensors file, or a .pth/.pt one that holds nothing but tensors.

    Half-precision tensors come back as float32. Raises UserError when the file is missing, cut
    short, of another format, or holds anything that would have to be executed.
    """
    if not path.is_file():
        raise UserError(f"no weights file at {path}; give a .safetensors, .pth or .pt file")
    try:
        content = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    # torch.load answers a damaged file with whatever its bytes lead to, IndexError included.
    except Exception as error:
        raise UserError(
            f"{path} ({path.stat().st_size} bytes) cannot be read as weights: cut short or of "
            f"another format ({_first_line(error)}); give a .safetensors, or a .pth of tensors only"
        ) from error
    return {name: _upcast(tensor) for name, tensor in _tensors(content, path).items()}


def init_segmentor(net: Segmentor, weights: str | Path) -> int:
    """Fill the backbone from "imagenet" (torchvision's download), a file, or leave it at "none".

    Returns how many tensors were loaded. Raises UserError when the weights are not this network's,
    Failure when they cannot be downloaded.
    """
    if str(weights) == "none":
        return 0
    state = _download(net) if str(weights) == "imagenet" else read_weights(Path(weights))
    return net.load_backbone(state)


def _download(net: Segmentor) -> Mapping[str, Tensor]:
    """torchvision's ImageNet weights for this network, checked against the hash in their name."""
    network = type(net).__name__
    if net.imagenet is None:
        raise UserError(
            f"torchvision has no ImageNet weights for {network}; "
            "pass `--weights FILE` or `--weights none`"
        )
    try:
        return net.imagenet.get_state_dict(progress=False, check_hash=True)
    except (OSError, HTTPException, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise Failure(
            f"the ImageNet weights of {network} could not be downloaded from {net.imagenet.url} "
            f"({_first_line(error)}); pass `--weights FILE` or `--weights none`"
        ) from error


def _tensors(content: object, path: Path) -> dict[str, Tensor]:
    """The state dict itself, or the one that a training program put under a usual name."""
    for name in ("state_dict", "model", "model_state"):
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    if not isinstance(content, Mapping):
        raise UserError(f"{path} holds a {type(content).__name__}, wanted tensors by name")
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise UserError(f"{path} holds no tensor ({len(content)} entries), wanted tensors by name")
    return tensors


def _upcast(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
