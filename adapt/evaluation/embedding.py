"""Features in two dimensions, by t-SNE: do the cities lie apart, do the classes?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from adapt.checkpoint import SavedRun
from adapt.data.classes import IGNORE, Colour
from adapt.data.datasets import Images, LabelledImages
from adapt.evaluation.features import of_pixels, pooled, sizes_of
from adapt.pictures.plot import COLOURS, points
from roadshift import UserError

CITIES: dict[str, Colour] = {"source": COLOURS[0], "target": COLOURS[1]}


def panels(
    name: str, saved: SavedRun, source: LabelledImages, target: Images, count: int
) -> list[Image.Image]:
    """Of one run: pooled features of both cities' images, by city; features of positions, by class.

    The source's positions (points) have their true classes, the target's (rings) the predicted.
    Raises UserError where there are fewer than three images in all, or no t-SNE is installed.
    """
    G, sizes = saved.segmentor, sizes_of(saved.info)  # noqa: N806 - the papers' letter
    both = (source.images, target)
    chosen = [
        np.linspace(0, len(images) - 1, min(count, len(images))).astype(int).tolist()
        for images in both
    ]
    each = [pooled(G, *asked) for asked in zip(both, chosen, sizes, strict=True)]
    whose = [c for c, z in zip(CITIES.values(), each, strict=True) for _ in z]
    by_city = points(f"{name}: images", tsne(torch.cat(each)), whose, [False] * len(whose))
    pixels = [of_pixels(G, *asked) for asked in zip((source, target), chosen, sizes, strict=True)]
    labels, rings, features = [], [], []
    for part, ring in zip(pixels, (False, True), strict=True):
        known = part.labels != IGNORE
        features.append(part.features[known])
        labels += part.labels[known].tolist()
        rings += [ring] * int(known.sum())
    colours: Sequence[Colour] = [saved.info.palette[k] for k in labels]
    return [by_city, points(f"{name}: positions", tsne(torch.cat(features)), colours, rings)]


def tsne(features: Float[Tensor, "n k"]) -> Float[np.ndarray, "n 2"]:
    """scikit-learn's, of directions, from principal components; the same every time."""
    if len(features) < 3:
        raise UserError(f"t-SNE of {len(features)} points; wanted at least 3: a larger --count")
    perplexity = min(30.0, (len(features) - 1) / 3)
    made: Any = _tsne()(perplexity=perplexity, init="pca", random_state=0)
    found = made.fit_transform(normalize(features, dim=1).numpy())
    return np.asarray(found, np.float64)


def _tsne() -> Any:
    try:
        from sklearn.manifold import TSNE  # noqa: PLC0415 # pyright: ignore
    except ImportError as error:
        raise UserError(
            f"study embedding needs scikit-learn ({error}): pip install 'roadshift[study]'"
        ) from error
    return TSNE
