"""What a computed stage leaves: files, each one whole, and made.json once all are there.

making.json     what the files are computed from, written before the first
made.json       the same and what was found on the way, written last
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roadshift import replacing

BEGUN, DONE = "making.json", "made.json"


def is_made(folder: Path, made_by: str, identity: str) -> bool:
    """Whether everything in `folder` was made, by those checkpoints and with those settings."""
    return _says(folder / DONE, made_by, identity)


def begin_making(folder: Path, made_by: str, identity: str) -> None:
    """An empty folder, or the one that was begun with the same checkpoints and settings."""
    if not _says(folder / BEGUN, made_by, identity):
        shutil.rmtree(folder, ignore_errors=True)
        _write(folder / BEGUN, {"made_by": made_by, "identity": identity})


def mark_made(folder: Path, made_by: str, identity: str, facts: Mapping[str, object]) -> None:
    """The last file to be written."""
    _write(folder / DONE, {"made_by": made_by, "identity": identity, **facts})
    (folder / BEGUN).unlink(missing_ok=True)


def names(count: int) -> tuple[str, ...]:
    """The files of so many images, in the order of the images."""
    return tuple(f"{i:06d}.png" for i in range(count))


def write_missing(path: Path, content: bytes) -> None:
    """One file of a stage, whole; Failure when the disk refuses."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _says(path: Path, made_by: str, identity: str) -> bool:
    """A run of an earlier version says no identity: its run.json holds the settings."""
    if not path.is_file():
        return False
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except ValueError:
        return False
    return found.get("made_by") == made_by and found.get("identity", identity) == identity


def _write(path: Path, values: Mapping[str, object]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1))
