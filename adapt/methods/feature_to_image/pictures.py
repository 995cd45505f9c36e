"""What feature-to-image adaptation shows while it is trained: images, and their redrawings."""

from __future__ import annotations

import numpy as np
import torch

from adapt.data.cities import Cities
from adapt.evaluation.evaluate import Views, evaluating, predict
from adapt.methods.feature_to_image.feature_to_image import FeatureToImage
from adapt.pictures.overlay import Picture, overlay
from adapt.run import Run, parse_size
from adapt.stages.progress_pictures import rows_of, to_batch, to_image


def picture(method: FeatureToImage, cities: Cities, run: Run) -> Picture:
    """Rows of x_s | G(F(x_s)) | x_t | G(F(x_t)) | the classes of x_t."""
    source, target = cities
    size = parse_size(run.size, "size")
    sides = (source.images, parse_size(run.source_size, "source-size")), (target, size)

    def row(i: int) -> Picture:
        panels: list[Picture] = []
        for images, smaller in sides:
            x = to_batch(images.image(i % len(images)), method.F, smaller)
            redrawn = method.G(method.F(x), (x.shape[2], x.shape[3]))
            panels += [to_image(x), to_image(redrawn)]
        shown = panels[2]
        label = predict(method.F, shown, Views())
        panels.append(overlay(shown, label, source.palette))
        height = min(p.shape[0] for p in panels)
        return np.concatenate([p[:height] for p in panels], axis=1)

    with torch.random.fork_rng(), evaluating(method.F):  # the dropout of G draws
        return rows_of(len(target), row)
