"""The studies of what runs make of images: retrieval, embedding, an unseen city."""

from __future__ import annotations

import json as json_module
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from adapt import checkpoint
from adapt.checkpoint import SavedRun
from adapt.data.datasets import labelled, unlabelled
from adapt.evaluation.embedding import CITIES, panels
from adapt.evaluation.features import sizes_of
from adapt.evaluation.retrieval import Retrieval
from adapt.evaluation.retrieval import retrieval as retrieve
from adapt.evaluation.unseen import unseen as score_unseen
from adapt.pictures.plot import coloured, lines, side_by_side
from roadshift import UserError, replacing


def retrieval(
    *runs: Path, source: str, target: str, out: Path, count: int = 100, k: tuple[int, ...] = (10,)
) -> None:
    """Of the nearest images by features, how many are of the other city: runs side by side.

    Parameters
    ----------
    runs
        run folders, e.g. source_only and adapted; in the order they are to be shown
    source
        images of the first city, e.g. gta5:PATH
    target
        images of the second city; labels are not opened
    out
        the folder for retrieval.json and retrieval.png
    count
        of each city so many images lie in the pool, and as many others ask
    k
        the table's numbers of neighbours; the plot has all
    """
    _must_be(runs, count)
    cities = unlabelled(source), unlabelled(target)
    found: dict[str, Retrieval] = {}
    for name, saved in _opened(runs).items():
        found[name] = retrieve(saved.segmentor, cities, sizes_of(saved.info), count)
        if not k or max(k) > found[name].pool or min(k) < 1:
            raise UserError(
                f"--k {', '.join(map(str, k))}: the pool holds {found[name].pool} images; wanted "
                f"1 to {found[name].pool}, or a larger --count"
            )
    Console().print(_table(found, k))
    with replacing(out / "retrieval.json") as temporary:
        plain = {name: _plain(of) for name, of in found.items()}
        temporary.write_text(json_module.dumps(plain, indent=1))
    with replacing(out / "retrieval.png") as temporary:
        _plot(found).save(temporary, "PNG")
    print(f"wrote {out / 'retrieval.json'} and {out / 'retrieval.png'}")


def embedding(*runs: Path, source: str, target: str, out: Path, count: int = 100) -> None:
    """Features in two dimensions (t-SNE): of images by city, of positions by class, as one PNG.

    Parameters
    ----------
    runs
        run folders, a column each
    source
        labelled images of the first city: its positions have their true classes
    target
        images of the second city: its positions (rings) have the predicted classes
    out
        the PNG to write
    count
        images of each city
    """
    _must_be(runs, count)
    images, shown = unlabelled(target), labelled(source)
    columns: list[list[Image.Image]] = []
    colours = dict(CITIES)
    for name, saved in _opened(runs).items():
        theirs = shown.mapped(saved.info.class_map).with_classes(saved.info.classes)
        columns.append([*panels(name, saved, theirs, images, count)])
        colours |= dict(zip(saved.info.classes, saved.info.palette, strict=True))
    rows = [list(row) for row in zip(*columns, strict=True)]
    with replacing(out) as temporary:
        side_by_side(rows, colours).save(temporary, "PNG")
    print(f"wrote {out}")


def unseen(*runs: Path, data: str, json: Path | None = None) -> None:
    """Score runs on a third city, over the classes that all of them and its labels have.

    Parameters
    ----------
    runs
        run folders; the differences are to the first, e.g. a source_only run
    data
        labelled images of a city that no run was trained on, e.g. camvid:PATH#val
    json
        also write the scores to this file
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with Console(stderr=True).status("scoring") as status:
        found = score_unseen(runs, data, device, status.update)
    title = f"{data}: {found.images} images, {len(found.classes)} common classes"
    table = Table("run", "mIoU %", "to the first", *found.classes, title=title)
    base = next(iter(found.scores.values())).miou
    for name, scores in found.scores.items():
        iou = ("absent" if math.isnan(v) else f"{v:.1f}" for v in scores.iou.values())
        table.add_row(name, f"{scores.miou:.1f}", f"{scores.miou - base:+.1f}", *iou)
    Console().print(table)
    if json:
        runs_found = {name: scores._asdict() for name, scores in found.scores.items()}
        plain = {"data": data, "images": found.images, "runs": runs_found}
        with replacing(json) as temporary:
            temporary.write_text(json_module.dumps(plain, indent=1))


def _table(found: Mapping[str, Retrieval], k: tuple[int, ...]) -> Table:
    """A run a row: |A_k| and |B_k| for some k, and both mAPs in percent."""
    first = next(iter(found.values()))
    heads = [[*(f"|{letter}_{n}|" for n in k), f"mAP, {city} asks %"]
             for letter, city in (("A", "source"), ("B", "target"))]  # fmt: skip
    title = f"pool of {first.pool} images, {first.queries} ask"
    table = Table("run", *heads[0], *heads[1], title=title)
    for name, of in found.items():
        cells: list[str] = []
        for side in (of.source_asks, of.target_asks):
            cells += [f"{side.found[n - 1]:.2f}" for n in k]
            cells.append(f"{100 * side.mean_average_precision:.1f}")
        table.add_row(name, *cells)
    return table


def _plain(of: Retrieval) -> dict[str, object]:
    return {
        "A": of.source_asks.found,
        "mAP_source_asks": of.source_asks.mean_average_precision,
        "B": of.target_asks.found,
        "mAP_target_asks": of.target_asks.mean_average_precision,
        "pool": of.pool,
        "queries": of.queries,
    }


def _plot(found: Mapping[str, Retrieval]) -> Image.Image:
    """|A_k| and |B_k| over k, a line a run; faint: what features would give that know no city."""
    colours = coloured(list(found))
    sides = {
        "source asks: |A_k| over k": {name: of.source_asks.found for name, of in found.items()},
        "target asks: |B_k| over k": {name: of.target_asks.found for name, of in found.items()},
    }
    each: list[Image.Image] = []
    for title, curves in sides.items():
        last = next(iter(curves.values()))
        mixed = [last[-1] * (n + 1) / len(last) for n in range(len(last))]
        each.append(lines(f"{title} (grey: cities mixed)", curves, colours, mixed))
    return side_by_side([each], colours)


def _must_be(runs: tuple[Path, ...], count: int) -> None:
    if not runs or count < 1:
        raise UserError("wanted one run folder or more, and --count of at least 1")


def _opened(runs: tuple[Path, ...]) -> dict[str, SavedRun]:
    """By the folders' names, or their paths where two are alike."""
    names = checkpoint.names_of(runs)
    found = {name: checkpoint.read(run) for name, run in zip(names, runs, strict=True)}
    if torch.cuda.is_available():
        for saved in found.values():
            saved.segmentor.to("cuda")
    return found
