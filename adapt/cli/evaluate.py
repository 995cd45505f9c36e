"""The command evaluate: score a run on labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich import print as show

from adapt.evaluation.evaluate import Views
from adapt.evaluation.score import score, table
from adapt.run import parse_size
from roadshift import UserError


def evaluate(
    run: Path,
    *,
    data: str,
    which: Annotated[str, Parameter(name="--checkpoint")] = "last",
    size: str = "",
    scales: tuple[float, ...] = (1.0,),
    flip: bool = False,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    json: Path | None = None,
    pictures: Path | None = None,
) -> None:
    """Score a run on labelled images: per-class IoU and mIoU at the labels' own size.

    Parameters
    ----------
    run
        a run folder
    data
        labelled images, e.g. cityscapes:PATH#val
    which
        last (the result), best (of --keep-best-by, or selected on target labels), or a step that
        --keep-every kept
    size
        HxW the images are resized to for the network; "" for the size of training
    scales
        average the probabilities over these scales of that size
    flip
        average over the mirrored images as well
    device
        auto takes CUDA when there is one
    json
        also write the scores to this file
    pictures
        write image | prediction | truth strips of eight images into this folder
    """
    if which not in ("last", "best") and not which.isdecimal():
        raise UserError(f"--checkpoint {which}: wanted last, best or the number of a kept step")
    views = Views(scales, flip, parse_size(size, "size"))
    scored = score(run, which, data, views, device=device, pictures=pictures)
    if json:
        scored.write(json)
    show(table(scored))
