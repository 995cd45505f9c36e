"""What self-training shows while it runs: its lessons, and what the result makes of the target."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from adapt.data.datasets import Images
from adapt.data.drawing.batches import Batch, batches
from adapt.data.drawing.draws import Draws
from adapt.evaluation.evaluate import Views
from adapt.methods.self_training.self_training import SelfTraining
from adapt.pictures.overlay import Palette, Picture, strip
from adapt.run import Run, parse_size
from adapt.stages.progress_pictures import rows_of, segmented


def picture(
    method: SelfTraining, draws: Draws, run: Run, target: Images, palette: Palette
) -> Picture:
    """What the student is shown, and what the result makes of whole target images.

    Rows of: target crop | the teacher's labels | their weights (white: 1 or more) | mixed image |
    its labels; then rows of image | overlay.
    """
    device = next(method.G.parameters()).device
    batch = next(batches(draws, replace(run, batch=4, devices=1, workers=0), start=0, rank=0))
    with torch.random.fork_rng():
        shown = lessons_shown(method, batch.to(device), palette)
    below = segmented(method.segmentor, target, Views(size=parse_size(run.size, "size")), palette)
    width = max(shown.shape[1], below.shape[1])
    wide = [np.pad(x, ((0, 0), (0, width - x.shape[1]), (0, 0))) for x in (shown, below)]
    return np.concatenate(wide)


def lessons_shown(method: SelfTraining, batch: Batch, palette: Palette) -> Picture:
    """The upper rows of `picture`, an image of the batch each."""
    opinion, lesson = method.lessons(batch, looking=True)

    def row(i: int) -> Picture:
        x_t, mixed = _bytes(batch.x_t[i]), _bytes(lesson.x[i])
        labels, lesson_y = opinion.y[i].cpu().numpy(), lesson.y[i].cpu().numpy()
        weight = (opinion.w[i].clamp(0, 1) * 255).byte().cpu().numpy()
        grey = np.repeat(weight[..., None], 3, 2)
        return np.concatenate(
            [strip(x_t, [labels], palette), grey, strip(mixed, [lesson_y], palette)], 1
        )

    return rows_of(len(batch.x_t), row)


def _bytes(x: torch.Tensor) -> Picture:
    return (x * 255).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
