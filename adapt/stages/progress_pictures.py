"""What a run's pictures show while it is trained: four images, and what is made of them now."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from adapt.data.datasets import Images
from adapt.data.drawing.augment import resized_whole
from adapt.evaluation.evaluate import Views, evaluating, predict
from adapt.networks.segmentor import Segmentor
from adapt.pictures.overlay import Palette, Picture, strip

ROWS = 4


def segmented(segmentor: Segmentor, images: Images, views: Views, palette: Palette) -> Picture:
    """Rows of image | overlay."""

    def row(i: int) -> np.ndarray:
        image = images.image(i)
        return strip(image, [predict(segmentor, image, views)], palette)

    with evaluating(segmentor):
        return rows_of(len(images), row)


def rows_of(count: int, row: Callable[[int], np.ndarray]) -> Picture:
    """The rows of evenly spaced images, cut to the narrowest."""
    rows = [row(int(i)) for i in np.linspace(0, count - 1, ROWS).astype(int)]
    width = min(row.shape[1] for row in rows)
    return np.concatenate([row[:, :width] for row in rows])


def to_batch(
    image: Picture, like: nn.Module, size: tuple[int, int] | None
) -> Float[Tensor, "1 3 hh ww"]:
    """RGB bytes -> floats in [0, 1] of `size` (height, width) where the network `like` is."""
    device = next(like.parameters()).device
    x = torch.from_numpy(resized_whole(image, size)).to(device).permute(2, 0, 1)[None].float() / 255
    return x.contiguous(memory_format=torch.channels_last)


def to_image(x: Float[Tensor, "1 3 h w"]) -> Picture:
    """The inverse of `to_batch`, rounded."""
    return (x[0].permute(1, 2, 0).float() * 255).round().clamp(0, 255).byte().cpu().numpy()
