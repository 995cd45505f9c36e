"""Looking into folders, and saying what is there when what was wanted is not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from roadshift import UserError

IMAGES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
# A label must come back as it was written: no JPEG.
LABELS = (".bmp", ".png")


def files_in(folder: Path, suffixes: Sequence[str], *, deep: bool) -> tuple[str, ...]:
    """Files by their path relative to `folder`, sorted; `deep` looks into its folders too.

    Raises UserError when a folder cannot be listed.
    """
    found: list[str] = []
    pending = [""]
    while pending:
        inside = pending.pop()
        for entry in _entries(folder / inside):
            # Archives packed on a Mac hold a hidden file beside every image.
            if entry.name.startswith("."):
                continue
            name = f"{inside}/{entry.name}" if inside else entry.name
            if entry.is_dir():
                pending += [name] if deep else []
            elif entry.name.lower().endswith(tuple(suffixes)):
                found.append(name)
    return tuple(sorted(found))


def folders_in(folder: Path) -> list[str]:
    """The names of the folders in a folder, sorted, without hidden ones."""
    return sorted(e.name for e in _entries(folder) if e.is_dir() and not e.name.startswith("."))


def listed(names: Sequence[str]) -> str:
    """Names for an error message: the first eight."""
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more if names else "none"


def must_exist(path: Path, spec: str) -> None:
    """UserError when `path` is no folder, naming the nearest parent that is one."""
    if path.is_dir():
        return
    if path.exists():
        raise UserError(f"{spec}: {path} is a file; give the folder that holds the data set")
    parent = next(p for p in path.absolute().parents if p.is_dir())
    raise UserError(
        f"{spec}: there is no folder {path}; the nearest that exists is {parent} (folders in it: "
        f"{listed(folders_in(parent))}); correct the path"
    )


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise UserError(
            f"cannot look into {folder} ({error.strerror}); make it readable"
        ) from error
