"""The pictures of intra-domain adaptation: how the target is parted, what D and G make of it."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import UInt8

from adapt.data.pseudo_labelled import PseudoLabelled
from adapt.evaluation.evaluate import Views, evaluating, predict
from adapt.methods.intra_domain.intra_domain import IntraDomain
from adapt.methods.intra_domain.separation import separated
from adapt.networks.upsampling import full_size
from adapt.pictures.overlay import Palette, Picture, strip
from adapt.stages.progress_pictures import rows_of, to_batch

Size = tuple[int, int] | None


def separation(target: PseudoLabelled, palette: Palette) -> Picture:
    """Rows of image | labels of what is easy | what is hard | its index Z (white: 1)."""

    def row(i: int) -> Picture:
        found = separated(torch.from_numpy(target.label(i))[None], len(palette))
        maps = [grey((z[0].float() * 255).byte().numpy()) for z in (found.M, found.Z)]
        shown = strip(target.image(i), [found.labels[0].numpy()], palette)
        return np.concatenate([shown, *maps], 1)

    return rows_of(len(target), row)


def adaptation(
    method: IntraDomain, target: PseudoLabelled, size: Size, palette: Palette
) -> Picture:
    """Rows of image | what G predicts | what was hard | what D finds hard now (white: surely)."""

    def row(i: int) -> Picture:
        image = target.image(i)
        hard = separated(torch.from_numpy(target.label(i))[None], len(palette)).M[0]
        shown = strip(image, [predict(method.G, image, Views(size=size))], palette)
        maps = (hard.byte().numpy() * 255, answers(method, image, size))
        return np.concatenate([shown, *(grey(m) for m in maps)], 1)

    with evaluating(method.G):
        return rows_of(len(target), row)


def answers(method: IntraDomain, image: Picture, size: Size) -> UInt8[np.ndarray, "h w"]:
    """What D says of every pixel at the image's size: 0 (easy) to 255."""
    x = to_batch(image, method.G, size)
    z = full_size(method.G(x).logits, (x.shape[2], x.shape[3]), method.G.align_corners)
    d = full_size(method.judged(method.D, z)[:, None], image.shape[:2], align_corners=False)
    return (d[0, 0] * 255).round().byte().cpu().numpy()


def grey(m: UInt8[np.ndarray, "h w"]) -> Picture:
    """A map of bytes as a picture."""
    return np.repeat(m[..., None], 3, 2)
