"""Cutting the window out first gives what torchvision's resize, crop, mirror and colours give."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional

from adapt.data.drawing.augment import Augment
from adapt.data.drawing.colours import CHANGES, RecolourBytes, colours


def street(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A smooth picture with some texture, and a label of blocks."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (height // 8, width // 8, 3)).astype(np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    image = (image + rng.normal(0, 6, image.shape)).clip(0, 255).astype(np.uint8)
    blocks = rng.integers(0, 12, (height // 5, width // 5)).astype(np.uint8)
    return image, np.kron(blocks, np.ones((5, 5), np.uint8))[:height, :width]


def by_torchvision(augment: Augment, image: np.ndarray, label: np.ndarray) -> tuple[Tensor, Tensor]:
    x = tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1))
    y = tv_tensors.Mask(torch.from_numpy(label))
    low, high = augment.scale
    factor = low + (high - low) * float(torch.rand(()))
    size = [round(n * factor) for n in augment.size or image.shape[:2]]
    exact = functional.resize(y[None].as_subclass(Tensor), size, InterpolationMode.NEAREST_EXACT)
    x, y = functional.resize(x, size, antialias=False), tv_tensors.Mask(exact[0])
    fill = {tv_tensors.Image: 0, tv_tensors.Mask: 255}
    crop = v2.RandomCrop(augment.crop, pad_if_needed=True, fill=fill)
    for transform in (crop, v2.RandomHorizontalFlip(0.5 if augment.flip else 0.0)):
        x, y = transform(x, y)
    return x.as_subclass(Tensor).permute(1, 2, 0), y.as_subclass(Tensor)


@pytest.mark.parametrize(
    "augment",
    [
        Augment(size=None, crop=(90, 120)),
        Augment(size=(180, 240), crop=(100, 150), scale=(1.0, 1.6)),
        Augment(size=(60, 80), crop=(40, 50)),  # shrinks
        Augment(size=(70, 90), crop=(100, 80), scale=(0.5, 1.2), flip=False),  # padded
        Augment(size=None, crop=(120, 160), scale=(0.4, 0.6)),  # padded on both sides
    ],
    ids=["cut", "enlarged", "shrunk", "padded", "small"],
)
def test_the_window_alone_is_what_the_whole_would_give(augment: Augment) -> None:
    image, label = street(120, 160)
    for seed in range(12):
        torch.manual_seed(seed)
        x, y = augment(image, label)
        torch.manual_seed(seed)
        wanted_x, wanted_y = by_torchvision(augment, image, label)
        assert np.array_equal(y, wanted_y.numpy())
        if augment.colour_jitter == 0:
            off = np.abs(x.astype(int) - wanted_x.numpy().astype(int))
            assert off.max() <= 2
            assert (off > 1).mean() < 0.001


@pytest.mark.parametrize(("jitter", "blur"), [(0.3, 0.0), (0.5, 0.5), (0.0, 1.0)])
def test_colours_are_torchvisions_but_for_rounding(jitter: float, blur: float) -> None:
    """A change of one level can grow when the next one stretches the colours."""
    image, _ = street(96, 128)
    x = torch.from_numpy(image).permute(2, 0, 1)
    change = RecolourBytes(jitter, blur)
    for seed in range(20):
        torch.manual_seed(seed)
        found = change(image)
        after = torch.rand(3)
        torch.manual_seed(seed)
        wanted = v2.Compose(colours(jitter, blur))(x).permute(1, 2, 0).numpy()
        assert torch.equal(after, torch.rand(3))  # as many random numbers were drawn
        off = np.abs(found.astype(int) - wanted.astype(int))
        assert off.max() <= 6
        assert (off > 1).mean() < 0.005


@pytest.mark.parametrize("name", CHANGES)
def test_one_change_is_torchvisions_within_a_level(name: str) -> None:
    image, _ = street(96, 128)
    x = torch.from_numpy(image).permute(2, 0, 1)
    for factor in (-0.1, 0.02, 0.1) if name == "hue" else (0.5, 0.9, 1.0, 1.4):
        wanted = getattr(functional, f"adjust_{name}")(x, factor).permute(1, 2, 0).numpy()
        off = np.abs(CHANGES[name](image, factor).astype(int) - wanted.astype(int))
        assert off.max() <= 1
        assert (off > 0).mean() < 0.15
