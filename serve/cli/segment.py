"""The command `roadshift segment`."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from export.bundle import Bundle, Trust, read_bundle
from roadshift import UserError
from serve.cli.device_options import DeviceOptions, Flat

if TYPE_CHECKING:
    from serve.media.segment_files import Progress as Show
    from serve.media.segment_files import Report

KEY = "ROADSHIFT_API_KEY"
"""The environment's variable."""


def segment(
    bundle: str,
    source: str | None = None,
    /,
    *,
    out: Path,
    overwrite: bool = False,
    server: str | None = None,
    api_key_file: Path | None = None,
    trust: Annotated[Trust, Flat] = Trust(),
    device: Annotated[DeviceOptions, Flat] = DeviceOptions(),
) -> None:
    """Segment an image, all images of a folder, a video or a camera; here, or by a server's stream.

    Parameters
    ----------
    bundle
        A folder made by `roadshift export`. With --server there is none: SOURCE alone is given.
    source
        A JPEG, PNG or WebP image, a folder of them, a video, or a camera: its number (0) or
        rtsp://…, until Ctrl-C. With --server no single image, and a folder becomes a video.
    out
        The folder for NAME.labels.png and NAME.overlay.jpg; for a video a folder or a .mp4 file.
    overwrite
        Make answers again that are newer than their input and the bundle.
    server
        http://HOST:PORT of a `roadshift serve` that segments the frames.
    api_key_file
        A file with that server's key; or the environment has it, as ROADSHIFT_API_KEY.
    """
    with _bar() as show:
        if server is not None:
            if source is not None or trust != Trust() or device != DeviceOptions():
                raise UserError(
                    "with --server its own bundle is asked, on its own device: name SOURCE alone, "
                    "and none of the options for those"
                )
            report = _by_server(server, api_key_file, bundle, out, show)
        elif source is None or api_key_file is not None:
            raise UserError(
                "wanted a bundle and what is to be segmented: roadshift segment BUNDLE SOURCE; or "
                "SOURCE --server URL, which --api-key-file goes with"
            )
        else:
            report = _here(read_bundle(Path(bundle), trust), device, source, out, overwrite, show)
    for remark in report.remarks:
        print(f"note: {remark}")
    if report.skipped:
        print(f"{report.skipped} up to date (--overwrite makes them again)")
    if report.written:
        print(f"wrote {len(report.written)} file(s), {report.written[0]} first")


def _here(
    bundle: Bundle, device: DeviceOptions, source: str, out: Path, overwrite: bool, show: Show
) -> Report:
    from serve.media.segment_files import segment as to_files  # noqa: PLC0415
    from serve.runtime.engine import Engine  # noqa: PLC0415 - --help answers without loading these

    engine = Engine(bundle, **asdict(device))
    engine.check_golden()
    return to_files(engine, source, out, overwrite=overwrite, progress=show)


def _by_server(url: str, api_key_file: Path | None, source: str, out: Path, show: Show) -> Report:
    from serve.models.api_keys import key_to_send  # noqa: PLC0415
    from serve.remote.overlay_stream import RemoteServer  # noqa: PLC0415
    from serve.remote.segment_remotely import segment_remotely  # noqa: PLC0415

    key = key_to_send(api_key_file) if api_key_file is not None else os.environ.get(KEY)
    return segment_remotely(RemoteServer(url, key), source, out, progress=show)


@contextmanager
def _bar() -> Generator[Show]:
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(TextColumn("segmenting"), *columns, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)
