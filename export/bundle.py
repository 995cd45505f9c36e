"""The bundle's format: a verified segmentor and all that is needed to run it, in one folder.

    bundle.json         format number, classes, sizes, provenance, scores, checks, the SHA-256 of
                        every file below and of this page itself
    segmentor.onnx      uint8 RGB [N,H,W,3] in, uint8 labels [N,H,W] out
    reconstructor.onnx  uint8 labels [N,H,W] in, uint8 RGB [N,H,W,3] out; only of methods with one
    golden/N.png        a few frames, and in golden/N.labels.png what torch made of them; with a
                        reconstructor also golden/N.rebuilt.png, what torch drew of those labels
    report.md           what was checked, for people

A reader that knows no reconstructor leaves its files alone, so the format number is the same.

Runs where no torch is installed. Nothing that is read here can run code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.golden import (
    Golden,
    GoldenRebuilt,
    golden_files,
    images_in,
    labels_of,
    read_png,
    rebuilt_of,
)
from export.manifest import MANIFEST, RIGHT, plain, read_manifest, sealed
from export.replacing import replace_folder
from roadshift import Failure, UserError

SEGMENTOR = "segmentor.onnx"
RECONSTRUCTOR = "reconstructor.onnx"
REPORT = "report.md"


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A bundle's manifest: sizes are (height, width) in pixels, colours are RGB in 0..255.

    `size` is the only size the graphs take, or None when they take every size from `min_size` on.
    `checks["min_agreement"]` (0..1) is the share of golden pixels that a device must reproduce,
    `checks["reconstructor"]["min_psnr"]` (decibels) how alike a golden rebuilt image must come out.
    """

    folder: Path
    name: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    size: tuple[int, int] | None
    min_size: tuple[int, int]
    precision: str
    opset: int
    provenance: dict[str, Any]
    scores: dict[str, Any]
    checks: dict[str, Any]
    files: dict[str, str]

    def path(self, name: str) -> Path:
        """Where the file of that name (one of `files`) lies."""
        if name not in self.files:
            raise UserError(f"bundle {self.folder} has no {name!r}; it has {', '.join(self.files)}")
        return self.folder / name

    @property
    def has_reconstructor(self) -> bool:
        """Whether there is a graph from labels to an image, and what it must draw."""
        return RECONSTRUCTOR in self.files

    def golden(self) -> list[Golden]:
        """The golden frames, in the order they were written."""
        return [
            Golden(read_png(self.path(name), "RGB"), read_png(self.path(labels_of(name)), "L"))
            for name in images_in(self.files)
        ]

    def golden_rebuilt(self) -> list[GoldenRebuilt]:
        """The golden labels and what torch drew of them; UserError without a reconstructor."""
        return [
            GoldenRebuilt(
                read_png(self.path(labels_of(name)), "L"),
                read_png(self.path(rebuilt_of(name)), "RGB"),
            )
            for name in images_in(self.files)
        ]


def read_bundle(folder: Path) -> Bundle:
    """The bundle in `folder`, every file compared with its hash.

    Raises UserError: no bundle there, a newer format, or a damaged, missing or changed file.
    """
    values = read_manifest(folder)
    bundle = _bundle(folder, values)
    for name, wanted in bundle.files.items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"bundle {folder} lacks its file {name!r}: export or copy it again")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != wanted:
            raise UserError(
                f"bundle {folder}: {name!r} is not the file that was checked (sha256 "
                f"{found}, wanted {wanted}): export or copy the bundle again"
            )
    return bundle


def write_bundle(
    bundle: Bundle,
    contents: Mapping[str, bytes],
    golden: Sequence[Golden],
    rebuilt: Sequence[NDArray[np.uint8]] = (),
) -> Bundle:
    """Writes `contents` and `golden` to `bundle.folder`; returns the bundle with its hashes.

    `rebuilt` is what the reconstructor, if any, drew of each golden frame's labels, RGB [h,w,3].
    Everything is written and flushed beside the folder first and then renamed into place: a bundle
    that was there before stays as it was on any failure. Raises UserError for a folder that holds
    something else (see `check_destination`), Failure when the disk does not take it.
    """
    folder = bundle.folder.resolve()
    check_destination(folder)
    everything = {**contents, **golden_files(golden, rebuilt)}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in everything.items()}
    bundle = replace(bundle, folder=folder, files=hashes)
    plain_fields = {f.name: getattr(bundle, f.name) for f in fields(bundle) if f.name != "folder"}
    values = sealed(plain_fields)
    _bundle(folder, values)  # what would not be read back is not written
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
        listed = {MANIFEST, *_bundle(folder, read_manifest(folder)).files}
    except UserError:
        listed = set[str]()
    if strange := sorted(found - listed):
        raise UserError(
            f"{folder} holds files that are not a bundle's, {strange[0]!r} for one, and would lose "
            "them: name another folder, or move them away"
        )


def _bundle(folder: Path, values: dict[str, Any]) -> Bundle:
    """The manifest's values as a Bundle, or UserError saying which of them is wrong."""
    known = {f.name for f in fields(Bundle)} - {"folder"}
    if different := known ^ (values.keys() - {"format", "sha256"}):
        raise UserError(f"{folder / MANIFEST} lacks or does not know: {', '.join(different)}")
    for key, right in RIGHT.items():
        if not right(values[key]):
            raise UserError(f"{folder / MANIFEST} has a wrong {key!r}: {str(values[key])[:80]}")
    fixed = {key: values[key] for key in known}
    fixed["classes"] = tuple(values["classes"])
    fixed["palette"] = tuple(tuple(colour) for colour in values["palette"])
    fixed["size"] = values["size"] and tuple(values["size"])
    fixed["min_size"] = tuple(values["min_size"])
    bundle = Bundle(folder=folder, **fixed)
    if len(bundle.palette) != len(bundle.classes):
        raise UserError(f"{folder / MANIFEST} has another number of colours than of classes")
    for name in bundle.files:
        if not plain(name):
            raise UserError(f"{folder / MANIFEST} names a file outside the bundle: {name!r}")
    images = images_in(bundle.files) or ["golden/0.png"]
    wanted = {SEGMENTOR, *images, *map(labels_of, images)}
    if bundle.has_reconstructor:
        wanted |= set(map(rebuilt_of, images))
    if bundle.has_reconstructor != ("reconstructor" in bundle.checks):
        raise UserError(f"{folder / MANIFEST} checks a reconstructor, or lists one, but not both")
    if missing := wanted - bundle.files.keys():
        raise UserError(f"{folder / MANIFEST} lists no {', '.join(sorted(missing))}: export again")
    return bundle
