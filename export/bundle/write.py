"""Writing a bundle: whole, or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.bundle.bundle import Bundle, bundle_of
from export.bundle.golden import (
    Golden,
    golden_files,
)
from export.bundle.manifest import MANIFEST, read_manifest, sealed
from export.bundle.replace_folder import replace_folder
from export.bundle.trust import SIGNATURE
from roadshift import Failure, UserError


def write_bundle(
    bundle: Bundle,
    contents: Mapping[str, bytes],
    golden: Sequence[Golden],
    drawn: Mapping[str, Sequence[NDArray[np.uint8]]] | None = None,
) -> Bundle:
    """Writes `contents` and `golden` to `bundle.folder`; returns it with hashes and digest.

    `drawn` is what the reconstructor ("rebuilt") and the translator ("translated"), where there
    are any, made of each golden frame: RGB [h,w,3].
    Everything is written and flushed beside the folder first and then renamed into place: a bundle
    that was there before stays as it was on any failure. Raises UserError for a folder that holds
    something else (see `check_destination`), Failure when the disk does not take it.
    """
    folder = bundle.folder.resolve()
    check_destination(folder)
    everything = {**contents, **golden_files(golden, drawn or {})}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in everything.items()}
    bundle = replace(bundle, folder=folder, files=hashes)
    names = {f.name for f in fields(bundle)} - {"folder", "digest"}
    values = sealed({name: getattr(bundle, name) for name in names})
    bundle_of(folder, values)  # what would not be read back is not written
    bundle = replace(bundle, digest=values["sha256"])
    everything[MANIFEST] = (json.dumps(values, indent=2) + "\n").encode()
    try:
        replace_folder(folder, everything)
    except OSError as error:
        raise Failure(
            f"could not write the bundle {folder}: {error.strerror or error}; nothing that was "
            "there before is changed: make room, or name another folder with --out"
        ) from error
    return bundle


def check_destination(folder: Path) -> None:
    """Raises UserError unless `folder` is new, empty, or a bundle and nothing else."""
    if not folder.exists():
        above = next(parent for parent in folder.absolute().parents if parent.exists())
        if not above.is_dir():
            raise UserError(f"cannot make the folder {folder}: {above} is a file")
        return
    if not folder.is_dir():
        raise UserError(f"{folder} is a file, and a bundle is a folder: name another one")
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()}
    try:
        listed = {MANIFEST, SIGNATURE, *bundle_of(folder, read_manifest(folder)).files}
    except UserError:
        listed = set[str]()
    if strange := sorted(found - listed):
        raise UserError(
            f"{folder} holds files that are not a bundle's, {strange[0]!r} for one, and would lose "
            "them: name another folder, or move them away"
        )
