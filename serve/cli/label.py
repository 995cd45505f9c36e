"""The command `roadshift label`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from export.bundle import Trust, read_bundle
from export.bundle.graphs import Precision
from roadshift import UserError
from serve.cli.device_options import Flat

if TYPE_CHECKING:
    from serve.archive.label import Round


def label(
    source: Path,
    /,
    *,
    bundle: Path,
    out: Path,
    workers: int = 0,
    shard: int = 64,
    rank: bool = False,
    monitor: bool = False,
    precision: Precision = "fp32",
    ray: str | None = None,
    trust: Annotated[Trust, Flat] = Trust(),
) -> None:
    """Label every image below a folder, by all cores; stopped or killed, it goes on where it was.

    Parameters
    ----------
    source
        A folder of JPEG, PNG or WebP images, in folders of any depth.
    bundle
        A folder made by `roadshift export`.
    out
        The folder for labels/NAME.png, and frames.csv: of every frame its size, the mean
        confidence, the share of unsure pixels and of each class, or why it was not read.
    workers
        Processes, each with one thread and the bundle in memory; 0: one a core.
    shard
        Frames that are done as one.
    rank
        frames.csv begins with the frames that the network is least sure of.
    monitor
        A column with each frame's self-check: how much less its labels explain it than usual ones.
    precision
        Which of the bundle's segmentors.
    ray
        The address of a Ray cluster that labels (HOST:PORT, ray://HOST:10001), or local, which
        starts Ray here; needs the extra `fleet`. All machines see the three folders at the same
        places. Workers then are shards under way at a time.
    """
    from serve.archive.label import Archive  # noqa: PLC0415 - --help answers without loading these
    from serve.archive.label import label as label_archive  # noqa: PLC0415
    from serve.runtime.engine import Engine  # noqa: PLC0415

    read = read_bundle(bundle, trust)
    Engine(read, threads=1, precision=precision).check_golden()
    archive = Archive(
        bundle=read,
        source=source,
        out=out,
        precision=precision,
        workers=workers,
        shard=shard,
        monitor=monitor,
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), transient=True) as bar:
        task = bar.add_task("shards", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        with _cluster(ray, workers) as run:
            found = label_archive(archive, rank=rank, progress=show, run=run)
    print(f"{found.frames} frames labelled, see {found.table}")
    for name, why in found.unread.items():
        print(f"not read: {name}: {why}")


def _cluster(address: str | None, workers: int) -> AbstractContextManager[Round | None]:
    """What labels at that address; None: this machine's processes."""
    if address is None:
        return nullcontext()
    try:
        from serve.archive.cluster import cluster  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise UserError(f"--ray needs roadshift[fleet]: pip install it ({error})") from error
    return cluster(address, workers)
