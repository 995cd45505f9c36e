"""One run scored on one labelled set: the numbers, the table, the file, the pictures."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from rich.table import Table

from adapt import checkpoint
from adapt.data.datasets import LabelledImages, labelled
from adapt.evaluation.evaluate import Scores, Views, evaluate, subset_mious
from adapt.pictures.overlay import Palette, strip, write_png
from roadshift import UserError, hxw, replacing

PICTURES = 8


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What was scored, how, and what came out; IoU and mIoU in percent."""

    run: str
    method: str
    network: str
    checkpoint: str
    data: str
    images: int
    size: tuple[int, int] | None
    scales: tuple[float, ...]
    flip: bool
    classes: tuple[str, ...]
    miou: float
    iou: dict[str, float | None]
    """None for a class that no label shows"""
    subsets: dict[str, float]
    """mIoU over the 19, 16, 13 classes of Cityscapes, where they were trained"""
    parts: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    """of a run that deploys the mean of several segmentors: miou and iou of each alone"""

    def write(self, path: Path) -> None:
        """Write the evaluation as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1))


def score(
    run: Path, which: str, data: str, views: Views, *, device: str, pictures: Path | None
) -> Evaluation:
    """Evaluate a run's checkpoint on labelled images, and keep the result in the run folder.

    Without a size in `views` the images are looked at in the size the run was trained for.
    """
    saved = checkpoint.read(run, which)
    segmentor, info, _ = saved
    labels = labelled(data).mapped(info.class_map).with_classes(info.classes)
    views = replace(views, size=views.size or info.work_size)
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no CUDA device here; use --device cpu")
    cuda = device != "cpu" and torch.cuda.is_available()
    segmentor.to("cuda" if cuda else "cpu", memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    shown = _Shown(labels, info.palette, pictures)
    scores = evaluate(segmentor, labels, views, shown.see)
    singles = {k: evaluate(one, labels, views) for k, one in checkpoint.alone(saved).items()}
    evaluation = Evaluation(
        run=str(run),
        method=info.method,
        network=info.network,
        checkpoint=which,
        data=data,
        images=len(labels),
        size=views.size,
        scales=views.scales,
        flip=views.flip,
        classes=info.classes,
        miou=scores.miou,
        iou=_plain(scores),
        subsets=subset_mious(scores),
        parts={k: {"miou": found.miou, "iou": _plain(found)} for k, found in singles.items()},
    )
    evaluation.write(run / "evaluations" / f"{_file_name(evaluation)}.json")
    return evaluation


def table(evaluation: Evaluation) -> Table:
    """The scores for a terminal, classes in the order they were trained."""
    e = evaluation
    size = hxw(e.size) if e.size else "native size"
    how = f"{size}, scales {e.scales}, flip {e.flip}"
    title = f"{e.method} ({e.network}, {e.checkpoint}) on {e.data}: {e.images} images, {how}"
    result = Table("class", "IoU %", title=title, title_justify="left")
    for name, value in e.iou.items():
        result.add_row(name, "absent" if value is None else f"{value:.1f}")
    result.add_section()
    result.add_row(
        f"mIoU over {sum(v is not None for v in e.iou.values())} classes", f"{e.miou:.1f}"
    )
    for name, value in e.subsets.items():
        result.add_row(f"mIoU {name}", f"{value:.1f}")
    for name, part in e.parts.items():
        result.add_row(f"mIoU of {name} alone", f"{part['miou']:.1f}")
    return result


class _Shown:
    """Writes the strips of a few evenly spaced images while they are scored."""

    def __init__(self, data: LabelledImages, palette: Palette, folder: Path | None) -> None:
        self.data, self.palette, self.folder = data, palette, folder
        count = min(PICTURES, len(data)) if folder else 0
        self.chosen = list(np.linspace(0, len(data) - 1, count).astype(int))

    def see(self, i: int, labels: UInt8[np.ndarray, "h w"]) -> None:
        """One scored image."""
        if self.folder is not None and i in self.chosen:
            picture = strip(self.data.image(i), [labels, self.data.label(i)], self.palette)
            write_png(self.folder / f"{self.chosen.index(i):03d}.png", picture)


def _plain(scores: Scores) -> dict[str, float | None]:
    return {name: None if math.isnan(v) else v for name, v in scores.iou.items()}


def _file_name(evaluation: Evaluation) -> str:
    views = {k: v for k, v in asdict(evaluation).items() if k in ("size", "scales", "flip")}
    text = f"{evaluation.checkpoint}-{evaluation.data}-{json.dumps(views)}"
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in text)[:150]
