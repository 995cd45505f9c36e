"""roadshift data: look at a data set before training on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from adapt.data.classes import trained_classes
from adapt.data.datasets import (
    has_labels,
    labelled,
    open_images,
    open_labels,
    other_classes,
    unlabelled,
)
from adapt.data.image_labels import true_image_labels, write_image_labels
from adapt.data.reading.class_map import read_class_map
from adapt.data.reading.parse import parse
from adapt.data.scan import scan as scan_all
from adapt.data.scan_report import ScanReport, cache_path, write_report
from adapt.pictures.contact_sheet import contact_sheet
from roadshift import replacing

app = App(name="data", help="Check a set of images, or look at it.")
LISTED = 20


@app.command
def scan(spec: str, *, json: Path | None = None) -> None:
    """Read every image and label, list the bad ones; later runs leave those out.

    Parameters
    ----------
    spec
        KIND:PATH[@CLASSES][#[split][/pattern]], e.g. cityscapes:PATH#val
    json
        also write the report to this file
    """
    bar = (TextColumn("scanning"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*bar, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("scan", total=None)
        report = scan_all(spec, lambda done, n: progress.update(task, completed=done, total=n))
    if json:
        write_report(report, json)
    _show_report(report)
    if report.other_classes:
        parsed = parse(spec)
        raise other_classes(open_labels(parsed, open_images(parsed)), report.unlisted)


@app.command
def show(
    spec: str,
    *,
    out: Path = Path("contact_sheet.png"),
    count: Annotated[int, Parameter(validator=Number(gte=1, lte=1000))] = 12,
) -> None:
    """Write a picture of some images, each beside its label in colours.

    Parameters
    ----------
    spec
        KIND:PATH[@CLASSES][#[split][/pattern]], e.g. camvid:PATH#train/0001TP*
    out
        the PNG to write
    count
        how many images, evenly spaced over the set
    """
    parsed = parse(spec)
    pairs = has_labels(parsed, open_images(parsed))
    picture = contact_sheet(labelled(spec) if pairs else unlabelled(spec), count)
    with replacing(out) as temporary:
        Image.fromarray(picture).save(temporary, "PNG")
    print(f"wrote {out}" + ("" if pairs else " (no labels that can be read were found)"))


@app.command(name="image_labels")
def image_labels(
    spec: str,
    *,
    out: Path,
    kind: Literal["presence", "shares"] = "presence",
    classes: str = "",
    map: str = "",
) -> None:
    """Write image-level labels for `adapt pivot --image-labels`, from the label maps of a set.

    Nothing else makes such a file: whoever trains with it on a target has used its labels.

    Parameters
    ----------
    spec
        labelled images, e.g. cityscapes:PATH#train
    out
        the JSON file to write
    kind
        which classes an image shows (1 or 0), or how much of it each one is
    classes
        as for adapt: a named set or a list; "" for the set's own
    map
        as for adapt: a JSON file that makes several classes one
    """
    class_map = read_class_map(Path(map)) if map else {}
    data = labelled(spec).mapped(class_map)
    data = data.with_classes(trained_classes(classes, data.classes, None))
    write_image_labels(out, kind, data.classes, true_image_labels(data, kind))
    print(f"wrote {out}: {kind} of {len(data.classes)} classes in {len(data)} images")


def _show_report(report: ScanReport) -> None:
    console = Console()
    sizes = sorted(report.sizes.items(), key=lambda item: -item[1].images)
    table = Table("size (height x width)", "images", "first", title=report.spec)
    for size, seen in sizes:
        table.add_row(size, str(seen.images), seen.first)
    console.print(table)
    if report.labels:
        console.print(_class_table(report))
    else:
        console.print("no labels, or no classes.json that says what their ids mean")
    if report.problems:
        console.print(_problem_table(report))
    images, pairs = report.bad("image"), report.bad("image") | report.bad("label")
    console.print(
        f"{report.images} images: as a target, {len(images)} are bad and left out; with labels, "
        f"{len(pairs)}; report: {cache_path(report.content)}",
        soft_wrap=True,
    )


def _class_table(report: ScanReport) -> Table:
    total = max(1, report.ignored + sum(report.pixels.values()))
    table = Table("class", "share of pixels", title="labels")
    for name, pixels in report.pixels.items():
        table.add_row(name, f"{100 * pixels / total:.2f} %")
    ids = ", ".join(map(str, list(report.unlisted)[:LISTED])) or "none"
    table.add_row(f"ignored (ids: {ids})", f"{100 * report.ignored / total:.2f} %")
    return table


def _problem_table(report: ScanReport) -> Table:
    table = Table("image", "problem", "what was found", title=f"{len(report.problems)} problems")
    for problem in report.problems[:LISTED]:
        table.add_row(problem.file, f"{problem.of} {problem.what}", problem.detail)
    if len(report.problems) > LISTED:
        table.add_row("...", f"{len(report.problems) - LISTED} more", "see the JSON report")
    return table
