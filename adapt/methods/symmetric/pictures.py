"""The pictures of symmetric adaptation: what F draws, and where A and B agree."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from adapt.data.datasets import Images
from adapt.evaluation.evaluate import Views, evaluating
from adapt.methods.symmetric.consistency import Consistency, judged, probabilities
from adapt.methods.symmetric.star_translation import SOURCE, TARGET
from adapt.networks.segmentors.fused import Fused
from adapt.networks.star_generator import StarGenerator, Towards
from adapt.pictures.overlay import Palette, Picture, overlay, strip
from adapt.stages.progress_pictures import rows_of, to_batch, to_image

Size = tuple[int, int] | None


def translation(
    F: StarGenerator, source: tuple[Images, Size], target: tuple[Images, Size]
) -> Picture:
    """Rows of x_s | x_s as target | x_t | x_t as source."""

    def row(i: int) -> Picture:
        panels: list[Picture] = []
        for domain, (images, size) in ((TARGET, source), (SOURCE, target)):
            x = to_batch(images.image(i % len(images)), F, size)
            panels += [to_image(x), to_image(Towards(F, domain)(x))]
        height = min(p.shape[0] for p in panels)
        return np.concatenate([p[:height] for p in panels], axis=1)

    with torch.inference_mode():
        return rows_of(len(source[0]), row)


def agreement(
    both: Fused, images: Images, size: Size, how: Consistency, palette: Palette
) -> Picture:
    """Rows of image | A | B | M_total (white: 1) | the label of both."""
    device = next(both.parameters()).device

    def row(i: int) -> Picture:
        image = images.image(i)
        p, q = probabilities(both, torch.from_numpy(image)[None].to(device), Views(size=size))
        found = judged(p, q, how)
        a, b, label = (_label(x) for x in (p.argmax(1), q.argmax(1), found.labels))
        total = (found.confidence[0].clamp(0, 1) * 255).byte().cpu().numpy()
        grey = np.repeat(total[..., None], 3, 2)
        panels = [strip(image, [a, b], palette), grey, overlay(image, label, palette)]
        return np.concatenate(panels, axis=1)

    with evaluating(both):
        return rows_of(len(images), row)


def _label(y: Tensor) -> UInt8[np.ndarray, "h w"]:
    return y[0].to(torch.uint8).cpu().numpy()
