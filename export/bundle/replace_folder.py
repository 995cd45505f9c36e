"""A folder is replaced as a whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path


def replace_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Makes `folder` hold exactly `contents` (relative name -> bytes).

    Everything is written and flushed in a temporary folder on the same disk, then renamed. Raises
    OSError; `folder` is then as it was before.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    new, old = staging / "new", staging / "old"
    try:
        for name, content in contents.items():
            _write(new / name, content)
        for inner in (new, *(path for path in new.rglob("*") if path.is_dir())):
            _flush(inner)
        _swap(folder, new, old)
    finally:
        # Only if even moving the old folder back has failed is it still in there.
        if folder.exists() or not old.exists():
            shutil.rmtree(staging, ignore_errors=True)


def _swap(folder: Path, new: Path, old: Path) -> None:
    if folder.exists():
        folder.rename(old)
    try:
        new.rename(folder)
        _flush(folder.parent)
    except OSError:
        if folder.exists():
            folder.rename(new)
        if old.exists():
            old.rename(folder)
        raise


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush(folder: Path) -> None:
    """Names survive a power cut only when the folder that holds them is flushed too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
