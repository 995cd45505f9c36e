"""`roadshift study`: questions to trained runs that are neither training nor export."""

from __future__ import annotations

import json as json_module
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cyclopts import App
from rich.console import Console
from rich.table import Table

from adapt import checkpoint
from adapt.cli import study_features
from adapt.data.datasets import unlabelled
from adapt.evaluation.evaluate import Views
from adapt.evaluation.label_free import BETTER, label_free, ranking
from adapt.evaluation.score import score
from adapt.methods.pivot.quality import quality
from adapt.saved_state import kept_steps
from roadshift import UserError, replacing

app = App(name="study", help="Questions to trained runs that are neither training nor export.")
app.command(study_features.retrieval, name="retrieval")
app.command(study_features.embedding, name="embedding")
app.command(study_features.unseen, name="unseen")


@app.command(name="signals")
def signals(
    *runs: Path, target: str, data: str = "", count: int = 32, json: Path | None = None
) -> None:
    """What can be known of runs and their checkpoints without a label of the target.

    Parameters
    ----------
    runs
        run folders; of each the last checkpoint, and the steps that --keep-every kept
    target
        images without labels, e.g. cityscapes:PATH#train
    data
        labelled images of the same city: also scores every checkpoint on them, and says how well
        each signal ranks the checkpoints (1: as the scores do, -1: the other way round)
    count
        images of the target that are looked at, evenly spaced
    json
        also write all of it to this file
    """
    if not runs or count < 1:
        raise UserError("wanted one run folder or more, and --count of at least 1")
    images = unlabelled(target)
    rows: list[dict[str, Any]] = []
    with Console(stderr=True).status("looking") as status:
        for run in runs:
            for which in (*map(str, kept_steps(run)), "last"):
                status.update(f"{run}, {which}")
                saved = checkpoint.read(run, which)
                found = label_free(saved.segmentor, images, saved.info.work_size, count)
                row: dict[str, Any] = {"run": str(run), "checkpoint": which, **found}
                if data:
                    scored = score(run, which, data, Views(), device="auto", pictures=None)
                    row["miou"] = scored.miou
                rows.append(row)
    ranks = _ranks(rows) if data else {}
    _show(rows, ranks)
    if json:
        with replacing(json) as temporary:
            temporary.write_text(json_module.dumps({"rows": rows, "ranks": ranks}, indent=1))


@app.command(name="image_labels")
def image_labels(run: Path, *, data: str, json: Path | None = None) -> None:
    """How good the image-level labels of a run of pivot are, on labelled images.

    Parameters
    ----------
    run
        a run folder of `adapt pivot`, trained with its own classifier
    data
        labelled images, e.g. cityscapes:PATH#val
    json
        also write the numbers to this file
    """
    found = quality(run, data)
    title = f"image-level labels of {run} on {data}: {found.images} images"
    table = Table("", "KL to the truth, nats", "mean absolute error", title=title)
    for name, off in (("classifier", found.classifier), ("source's mean", found.source_mean)):
        table.add_row(name, f"{off.kl:.3f}", f"{off.mae:.4f}")
    Console().print(table)
    if json:
        plain = {k: v._asdict() if k != "images" else v for k, v in found._asdict().items()}
        with replacing(json) as temporary:
            temporary.write_text(json_module.dumps(plain, indent=1))


def _ranks(rows: list[dict[str, Any]]) -> dict[str, Mapping[str, float]]:
    """How well each signal ranks a run's own checkpoints, and the last ones of all runs."""
    found: dict[str, Mapping[str, float]] = {}
    groups = {f"checkpoints of {row['run']}": [r for r in rows if r["run"] == row["run"]]
              for row in rows}  # fmt: skip
    groups["runs"] = [row for row in rows if row["checkpoint"] == "last"]
    for name, group in groups.items():
        if len(group) > 2:
            found[name] = ranking(group, [row["miou"] for row in group])
    return found


def _show(rows: list[dict[str, Any]], ranks: Mapping[str, Mapping[str, float]]) -> None:
    console = Console()
    scored = ["mIoU %"] if rows and "miou" in rows[0] else []
    table = Table("run", "checkpoint", *BETTER, *scored)
    for row in rows:
        cells = [f"{row[name]:.3f}" for name in BETTER]
        cells += [f"{row['miou']:.1f}"] if scored else []
        table.add_row(row["run"], row["checkpoint"], *cells)
    console.print(table)
    if ranks:
        table = Table("rank correlation with mIoU", *BETTER)
        for name, found in ranks.items():
            table.add_row(name, *(f"{found[signal]:+.2f}" for signal in BETTER))
        console.print(table)
