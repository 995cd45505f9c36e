"""Label an archive: shards to worker processes, and one table of all frames in the end."""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from export.bundle import Bundle
from export.bundle.graphs import Precision
from roadshift import Failure, UserError
from serve.archive.shard import UNREAD, Labeller, Row, Shard, columns, rows_of, shards_of
from serve.media.files import out_folder, write_whole
from serve.models.self_check.self_check import self_check_of

TRIES = 3
"""how often workers may die in a row without a shard done"""
Progress = Callable[[int, int], None]
"""Called with how many shards are done, and how many there are."""
_labeller: Labeller | None = None


@dataclass(frozen=True, kw_only=True)
class Archive:
    """What is to be labelled, by what, and where to."""

    bundle: Bundle
    source: Path
    """images anywhere below it"""
    out: Path
    precision: Precision = "fp32"
    workers: int = 0
    """processes, each with one thread; 0: one a core"""
    shard: int = 64
    """frames"""
    monitor: bool = False
    """self-check every frame"""


@dataclass(frozen=True)
class Labelled:
    """The table, how many frames were read, and why the others were not, by their names."""

    table: Path
    frames: int
    unread: dict[str, str]


Round: TypeAlias = Callable[[Archive, Sequence[Shard], Callable[[int], None]], None]
"""Labels shards until they are done or a worker dies; it is told how many are left over."""


def label(
    archive: Archive,
    *,
    rank: bool = False,
    progress: Progress = lambda _done, _of: None,
    run: Round | None = None,
) -> Labelled:
    """Every image below the source gets OUT/labels/NAME.png (class ids, one channel).

    OUT/frames.csv has a row of each: size, mean confidence (0..1), share of unsure pixels, share of
    each class, and the score of a self-check where asked; by name, or with `rank` those that the
    network is least sure of first. Shards whose table is there are not made again, also after a
    worker was killed, but for those with a frame that the system could not read. `run` labels
    them elsewhere than in processes of this machine. Raises UserError for folders that do not fit
    or a bundle that cannot check itself, Failure when workers die again and again.
    """
    _check(archive)
    run = run or _round
    shards, deaths = shards_of(archive.source, archive.shard), 0
    _forget_unread(shards, archive.out)
    while left := [one for one in shards if not one.table(archive.out).is_file()]:
        run(archive, left, lambda n: progress(len(shards) - n, len(shards)))
        still = sum(not one.table(archive.out).is_file() for one in left)
        deaths = deaths + 1 if still == len(left) else 0
        if deaths == TRIES:
            raise Failure(
                f"a worker died {TRIES} times in a row, with {still} of {len(shards)} shards left, "
                f"from {left[0].names[0]} on (out of memory?): try fewer --workers, or a smaller "
                "--shard; what is labelled stays"
            )
    return _collected(archive, shards, rank)


def _forget_unread(shards: Sequence[Shard], out: Path) -> None:
    """A disk or a network that failed then may not fail now."""
    for table in (shard.table(out) for shard in shards):
        if table.is_file() and any(row["error"].startswith(UNREAD) for row in rows_of(table)):
            table.unlink()


def _round(archive: Archive, left: Sequence[Shard], left_over: Callable[[int], None]) -> None:
    """Labels what is left, until it is done or a worker dies."""
    count = min(archive.workers or os.cpu_count() or 1, len(left))
    bundle = archive.bundle
    opened = (bundle.folder, bundle.digest, archive.out, archive.precision, archive.monitor)
    with ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _open, opened) as pool:
        try:
            waiting = [pool.submit(_label, one) for one in left]
            for done, future in enumerate(as_completed(waiting), 1):
                future.result()
                left_over(len(left) - done)
        except BrokenProcessPool:
            pass  # what it was at is left
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _open(bundle: Path, digest: str, out: Path, precision: Precision, monitor: bool) -> None:
    global _labeller  # noqa: PLW0603 - of this process: its bundle is opened once
    _labeller = Labeller(bundle, digest, out, precision, monitor)


def _label(shard: Shard) -> None:
    assert _labeller is not None
    _labeller.label(shard)


def _check(archive: Archive) -> None:
    source, out, bundle = archive.source, archive.out, archive.bundle
    if not source.is_dir():
        raise UserError(f"{source} is no folder: wanted one with images anywhere below it")
    if out.resolve().is_relative_to(source.resolve()):
        raise UserError(f"--out {out} lies in the archive {source}: name a folder outside of it")
    if archive.workers < 0 or archive.shard < 1:
        raise UserError(
            f"--workers {archive.workers}, --shard {archive.shard}: wanted 0 or more, and 1 or more"
        )
    if archive.monitor and self_check_of(bundle) is None:
        raise UserError(
            f"bundle {bundle.name} cannot check itself: export its run with --reconstructor, or "
            "leave out --monitor"
        )
    made = {"bundle": bundle.name, "digest": bundle.digest, "precision": archive.precision}
    made |= {"monitor": "yes"} if archive.monitor else {}
    page = out_folder(out) / "label.json"
    if page.is_file() and (before := _made_by(page)) != made:
        raise UserError(
            f"{out} holds labels by {_named(before)}, and this is {_named(made)}: name another "
            "--out"
        )
    pairs = zip(bundle.classes, bundle.palette, strict=True)
    classes = [{"id": i, "name": name, "color": rgb} for i, (name, rgb) in enumerate(pairs)]
    write_whole(page, (json.dumps({"by": made, "classes": classes}, indent=1) + "\n").encode())


def _made_by(page: Path) -> dict[str, str]:
    try:
        found = json.loads(page.read_text())["by"]
        known = {key: found[key] for key in ("bundle", "digest", "precision")}
        return known | ({"monitor": found["monitor"]} if "monitor" in found else {})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{page} does not say what made the labels there ({error!r}): name another --out"
        ) from error


def _named(made: dict[str, str]) -> str:
    how = f"{made['precision']}{', with --monitor' if 'monitor' in made else ''}"
    return f"bundle {made['bundle']} ({made['digest'][:12]}, {how})"


def _collected(archive: Archive, shards: Sequence[Shard], rank: bool) -> Labelled:
    rows = [row for shard in shards for row in rows_of(shard.table(archive.out))]
    if rank:
        rows.sort(key=_sureness)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns(archive.bundle.classes, archive.monitor))
    writer.writeheader()
    writer.writerows(rows)
    table = archive.out / "frames.csv"
    write_whole(table, text.getvalue().encode())
    unread = {row["file"]: row["error"] for row in rows if row["error"]}
    return Labelled(table, len(rows) - len(unread), unread)


def _sureness(row: Row) -> float:
    """What could not be read comes last."""
    return float(row["confidence"]) if row["confidence"] else 2.0
