"""`roadshift compare`: trained runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from rich.console import Console

from adapt.evaluation.compare import Request, compare
from adapt.evaluation.comparison_page import notes, table, write
from adapt.run import parse_size
from roadshift import UserError


def compare_runs(
    *runs: Path,
    data: str,
    out: Path,
    target: str = "",
    size: str = "",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    threads: int = 0,
) -> None:
    """Compare runs on labelled images: IoU per class, mIoU, cost of a frame, and a picture.

    Parameters
    ----------
    runs
        run folders, in the order they are to be shown
    data
        labelled images, e.g. cityscapes:PATH#val
    out
        the folder for compare.html, compare.png and compare.json
    target
        images without labels, as of the city that is meant: also shows the label-free signal that
        ranks best
    size
        HxW the images are resized to for every network; "" for the size of each one's training
    device
        auto takes CUDA when there is one
    threads
        CPU threads; 0 for all cores
    """
    cuda = torch.cuda.is_available()
    if device == "cuda" and not cuda:
        raise UserError("--device cuda: torch sees no CUDA device here; use --device cpu")
    if threads:
        torch.set_num_threads(threads)
    where = "cuda" if cuda and device != "cpu" else "cpu"
    asked = Request(runs, data, parse_size(size, "size"), where, target)
    with Console(stderr=True).status("comparing") as status:
        comparison, picture = compare(asked, lambda what: status.update(f"comparing {what}"))
    write(comparison, picture, out)
    console = Console()
    console.print(table(comparison))
    for note in notes(comparison):
        console.print(note, markup=False)
    console.print(f"wrote {out / 'compare.html'}", markup=False, soft_wrap=True)
