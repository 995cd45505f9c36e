"""The bundle's format: a verified segmentor and all that is needed to run it, in one folder.

    bundle.json         format number, classes, sizes, provenance, scores, checks, the SHA-256 of
                        every file below and of this page itself
    segmentor.onnx      uint8 RGB [N,H,W,3] in, uint8 labels [N,H,W] out
    golden/N.png        a few frames, and in golden/N.labels.png what torch made of them
    report.md           what was checked, for people

Runs where no torch is installed. Nothing that is read here can run code.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from export.manifest import RIGHT, plain
from export.replacing import replace_folder
from roadshift import Failure, UserError

FORMAT = 1
MANIFEST = "bundle.json"
SEGMENTOR = "segmentor.onnx"
REPORT = "report.md"


class Golden(NamedTuple):
    """A frame, uint8 RGB [h,w,3], and the labels that torch gave for it, uint8 [h,w]."""

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A bundle's manifest: sizes are (height, width) in pixels, colours are RGB in 0..255.

    `size` is the only size the graph takes, or None when it takes every size from `min_size` on.
    `checks["min_agreement"]` (0..1) is the share of golden pixels that a device must reproduce.
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

    def golden(self) -> list[Golden]:
        """The golden frames, in the order they were written."""
        return [
            Golden(_read_png(self.path(name), "RGB"), _read_png(self.path(_labels_of(name)), "L"))
            for name in _golden_images(self.files)
        ]


def read_bundle(folder: Path) -> Bundle:
    """The bundle in `folder`, every file compared with its hash.

    Raises UserError: no bundle there, a newer format, or a damaged, missing or changed file.
    """
    values = _read_manifest(folder)
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


def write_bundle(bundle: Bundle, contents: Mapping[str, bytes], golden: Sequence[Golden]) -> Bundle:
    """Writes `contents` and `golden` to `bundle.folder`; returns the bundle with its hashes.

    Everything is written and flushed beside the folder first and then renamed into place: a bundle
    that was there before stays as it was on any failure. Raises UserError for a folder that holds
    something else (see `check_destination`), Failure when the disk does not take it.
    """
    folder = bundle.folder.resolve()
    check_destination(folder)
    everything = dict(contents)
    for i, (image, labels) in enumerate(golden):
        everything[f"golden/{i}.png"] = _png(image)
        everything[f"golden/{i}.labels.png"] = _png(labels)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in everything.items()}
    bundle = replace(bundle, folder=folder, files=hashes)
    values = _manifest(bundle)
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
        listed = {MANIFEST, *_bundle(folder, _read_manifest(folder)).files}
    except UserError:
        listed = set[str]()
    if strange := sorted(found - listed):
        raise UserError(
            f"{folder} holds files that are not a bundle's, {strange[0]!r} for one, and would lose "
            "them: name another folder, or move them away"
        )


def _read_manifest(folder: Path) -> dict[str, Any]:
    """The values in bundle.json, of a format and a hash that are right."""
    path = folder / MANIFEST
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise UserError(f"{folder} {what}: wanted a bundle, a folder made by 'roadshift export'")
    if not path.is_file():
        run = "a run, " if (folder / "run.json").is_file() else ""
        raise UserError(
            f"{folder} is {run}not a bundle (no {MANIFEST}): make one with "
            "'roadshift export RUN --out BUNDLE'"
        )
    try:
        read = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}): export or copy the bundle again") from error
    if not isinstance(read, dict) or not isinstance(read.get("format"), int):
        raise UserError(f"{path} is not a bundle's manifest (no format number): export it again")
    values = cast(dict[str, Any], read)
    if values["format"] != FORMAT:
        raise UserError(
            f"{path} has format {values['format']} and this roadshift reads format {FORMAT}: "
            + ("install a newer one" if values["format"] > FORMAT else "export the run again")
        )
    if values.get("sha256") != _digest(values):
        raise UserError(f"{path} was changed after it was written: export or copy the bundle again")
    return values


def _manifest(bundle: Bundle) -> dict[str, Any]:
    values = {f.name: getattr(bundle, f.name) for f in fields(bundle) if f.name != "folder"}
    values = json.loads(json.dumps({"format": FORMAT, **values}))  # tuples become JSON's lists
    return {**values, "sha256": _digest(values)}


def _digest(values: dict[str, Any]) -> str:
    rest = {key: value for key, value in values.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


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
    images = _golden_images(bundle.files) or ["golden/0.png"]
    if missing := {SEGMENTOR, *images, *map(_labels_of, images)} - bundle.files.keys():
        raise UserError(f"{folder / MANIFEST} lists no {', '.join(sorted(missing))}: export again")
    return bundle


def _golden_images(files: Mapping[str, str]) -> list[str]:
    names = [name for name in files if re.fullmatch(r"golden/\d+\.png", name)]
    return sorted(names, key=lambda name: int(PurePosixPath(name).stem))


def _labels_of(image: str) -> str:
    return image.removesuffix(".png") + ".labels.png"


def _png(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def _read_png(path: Path, mode: str) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image.convert(mode))
