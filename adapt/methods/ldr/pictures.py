"""The pictures of the stages of label-driven reconstruction: what each network does now."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import UInt8
from torch import nn

from adapt.data.datasets import Images, LabelledImages
from adapt.data.drawing.augment import nearest_whole, resized_whole
from adapt.evaluation.evaluate import Views, evaluating, predict
from adapt.methods.ldr.reconstruction import one_hot
from adapt.networks.image_generator import Reconstructor, Translator
from adapt.networks.segmentor import Segmentor
from adapt.pictures.overlay import Palette, Picture, overlay
from adapt.stages.progress_pictures import rows_of, to_batch, to_image

Size = tuple[int, int] | None
Map = UInt8[np.ndarray, "h w"]


def translation(
    F: Translator, F_inv: Translator, target: tuple[Images, Size], source: tuple[Images, Size]
) -> Picture:
    """Rows of x_t | F(x_t) | x_s | F_inv(x_s)."""

    def row(i: int) -> Picture:
        panels: list[Picture] = []
        for network, (images, size) in ((F, target), (F_inv, source)):
            x = to_batch(images.image(i % len(images)), network, size)
            panels += [to_image(x), to_image(network(x))]
        height = min(p.shape[0] for p in panels)
        return np.concatenate([p[:height] for p in panels], axis=1)

    with torch.inference_mode():
        return rows_of(len(target[0]), row)


def drawing(M: Reconstructor, data: LabelledImages, size: Size, palette: Palette) -> Picture:
    """Rows of image | true label | what M draws of it."""

    def row(i: int) -> Picture:
        image = resized_whole(data.image(i), size)
        label = nearest_whole(data.label(i), size)
        panels = [image, overlay(image, label, palette, 1.0), drawn(M, label)]
        return np.concatenate(panels, axis=1)

    with torch.inference_mode():
        return rows_of(len(data), row)


def reconstruction(
    G: Segmentor, M: Reconstructor | None, images: Images, palette: Palette
) -> Picture:
    """Rows of image | predicted label | what M draws of that, where there is an M."""

    def row(i: int) -> Picture:
        image = images.image(i)
        label = predict(G, image, Views())
        panels = [image, overlay(image, label, palette, 1.0)]
        panels += [drawn(M, label)] if M else []
        return np.concatenate(panels, axis=1)

    with evaluating(G):
        return rows_of(len(images), row)


def drawn(M: Reconstructor, label: Map) -> Picture:
    """What M makes of a label map: RGB of its size."""
    y = torch.from_numpy(label)[None].to(_device(M))
    return to_image(M(one_hot(y, M.classes)))


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device
