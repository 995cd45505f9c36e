"""What pivot interaction transfer shows: shares of classes as bars, every unit's map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from adapt.data.datasets import Images, LabelledImages
from adapt.evaluation.evaluate import evaluating
from adapt.methods.pivot.pivot import Pivot
from adapt.pictures.overlay import Palette, Picture, overlay, strip
from adapt.stages.progress_pictures import rows_of, to_batch

Size = tuple[int, int] | None
WIDTH = 160
"""pixels that the share 1 is long"""


def bars(each: Sequence[Float[Tensor, " c"]], palette: Palette, height: int) -> Picture:
    """A row a class, in its colour, as long as its square root; of several vectors one below the
    other."""
    shown = np.full((height, WIDTH, 3), 255, np.uint8)
    edges = np.linspace(0, height, len(palette) * len(each) + 1).astype(int)
    for k, colour in enumerate(palette):
        for j, vector in enumerate(each):
            top = edges[k * len(each) + j]
            bottom = max(top + 1, edges[k * len(each) + j + 1] - (j == len(each) - 1))
            shown[top:bottom, : round(WIDTH * float(vector[k].clamp(0, 1)) ** 0.5)] = colour
    return shown


def predicted_shares(
    P: nn.Linear,
    source: LabelledImages,
    features: Float[Tensor, "n k"],
    shares: Float[Tensor, "n c"],
) -> Picture:
    """Rows of a source image | bars of what P says of it, below each its truth."""
    device = next(P.parameters()).device

    def row(i: int) -> Picture:
        image = source.image(i)
        said = P(features[i].to(device)).softmax(0)
        return np.concatenate([image, bars([said, shares[i]], source.palette, len(image))], 1)

    with torch.inference_mode():
        return rows_of(len(source), row)


def image_labels(target: Images, values: Float[Tensor, "n c"], palette: Palette) -> Picture:
    """Rows of a target image | bars of its image-level label."""

    def row(i: int) -> Picture:
        image = target.image(i)
        return np.concatenate([image, bars([values[i]], palette, len(image))], 1)

    return rows_of(len(target), row)


def units(
    method: Pivot, target: Images, values: Float[Tensor, "n c"], size: Size, palette: Palette
) -> Picture:
    """Rows of a target image | what G predicts | each unit's strongest class | its label."""

    def row(i: int) -> Picture:
        image = target.image(i)
        out = method.G(to_batch(image, method.G, size))
        own = (image.shape[0], image.shape[1])
        maps = [method.G.enlarged(S, own) for S in method.U(out.pre_logits)]
        maps.insert(0, nn.functional.interpolate(out.logits, own, mode="bilinear"))
        labels = [m[0].argmax(0).byte().cpu().numpy() for m in maps]
        shown = [strip(image, labels[:1], palette)]
        shown += [overlay(image, label, palette) for label in labels[1:]]
        return np.concatenate([*shown, bars([values[i]], palette, len(image))], 1)

    with evaluating(method.G):
        return rows_of(len(target), row)
