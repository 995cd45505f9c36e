"""The command `roadshift segment`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from export.bundle import Trust, read_bundle
from serve.cli.device_options import DeviceOptions, Flat


def segment(
    bundle: Path,
    source: Path,
    /,
    *,
    out: Path,
    overwrite: bool = False,
    trust: Annotated[Trust, Flat] = Trust(),
    device: Annotated[DeviceOptions, Flat] = DeviceOptions(),
) -> None:
    """Segment an image, all images of a folder, or a video.

    Parameters
    ----------
    bundle
        A folder made by `roadshift export`.
    source
        A JPEG, PNG or WebP image, a folder of them, or a video.
    out
        The folder for NAME.labels.png and NAME.overlay.jpg; for a video a folder or a .mp4 file.
    overwrite
        Make answers again that are newer than their input and the bundle.
    """
    from serve.media.segment_files import segment as to_files  # noqa: PLC0415
    from serve.runtime.engine import Engine  # noqa: PLC0415 - --help answers without loading these

    engine = Engine(read_bundle(bundle, trust), **asdict(device))
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(TextColumn("segmenting"), *columns, transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total or None)

        report = to_files(engine, source, out, overwrite=overwrite, progress=show)
    for remark in report.remarks:
        print(f"note: {remark}")
    if report.skipped:
        print(f"{report.skipped} up to date (--overwrite makes them again)")
    if report.written:
        print(f"wrote {len(report.written)} file(s), {report.written[0]} first")
