"""The bundle's format: a verified segmentor and all that is needed to run it, in one folder.

    bundle.json         format number, classes, sizes, precisions, provenance, scores, checks, the
                        SHA-256 of every file below and of this page itself
    segmentor.onnx      uint8 RGB [N,H,W,3] in, uint8 labels [N,H,W] out; beside it, where made,
                        segmentor.fp16.onnx and segmentor.int8.onnx
    reconstructor.onnx  uint8 labels [N,H,W] in, uint8 RGB [N,H,W,3] out; only of methods with one
    translator.onnx     uint8 RGB [N,H,W,3] in and out, the image in the source's colours; likewise
    golden/             a few frames and what torch made of them, see export.bundle.golden
    report.md, .html    what was checked, for people
    README.md           the model card

Runs where no torch is installed. Nothing that is read here can run code.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from export.bundle.golden import (
    Golden,
    GoldenDrawn,
    confidence_of,
    drawn_of,
    images_in,
    labels_of,
    logits_of,
    read_npy,
    read_png,
)
from export.bundle.graphs import GraphSpec, drawing_graphs, segmentor_file
from export.bundle.manifest import MANIFEST, RIGHT, plain, read_manifest
from export.bundle.trust import ANY, Trust
from roadshift import UserError


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A bundle's manifest: sizes are (height, width) in pixels, colours are RGB in 0..255.

    `size` is the only size the graphs take, or None when they take every size from `min_size` on.
    `align_corners` is how the logits are upsampled to the frame, and `route` whether the labels may
    be taken from them by the exact shortcut ("exact") or from the graph alone ("dense": they are
    no smaller than the frame). `checks["precisions"][p]["min_agreement"]` (0..1) is the share of
    golden pixels that a device must reproduce in that precision, and `checks[g]["min_psnr"]`
    (decibels, g a kind of graph that draws) how alike a golden drawing must come out.
    """

    folder: Path
    name: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    size: tuple[int, int] | None
    min_size: tuple[int, int]
    precisions: tuple[str, ...]
    align_corners: bool
    route: str
    opset: int
    provenance: dict[str, Any]
    scores: dict[str, Any]
    checks: dict[str, Any]
    files: dict[str, str]
    digest: str = ""
    """SHA-256 of the manifest, which has that of every file: whoever knows it knows the bundle."""

    def path(self, name: str) -> Path:
        """Where the file of that name (one of `files`) lies."""
        if name not in self.files:
            raise UserError(f"bundle {self.folder} has no {name!r}; it has {', '.join(self.files)}")
        return self.folder / name

    def segmentor(self, precision: str) -> str:
        """The segmentor's file in that precision; UserError for one that was not exported."""
        name = segmentor_file(precision)
        if precision not in self.precisions:
            raise UserError(
                f"bundle {self.folder} has the precisions {', '.join(self.precisions)}, no "
                f"{precision}: export the run again with --precision {precision}"
            )
        return name

    @property
    def largest_known(self) -> int:
        """The pixels of the largest frame that it knows: its size, the size worked at, or frames on
        which its graph was compared with torch; 0 where it knows none."""
        checks = self.checks.get("precisions", {}).values()
        sizes = [made["size"] for check in checks for made in check.get("sizes", ())]
        sizes += [size for size in (self.size, self.work_size) if size]
        return max((int(height) * int(width) for height, width in sizes), default=0)

    @property
    def work_size(self) -> tuple[int, int] | None:
        """The (height, width) that the network's pictures are resized to; None for their own."""
        work = self.provenance.get("work_size")
        return (int(work[0]), int(work[1])) if work else None

    def min_agreement(self, precision: str) -> float:
        """The share (0..1) of a golden frame's labels that a device must give."""
        self.segmentor(precision)
        return float(self.checks["precisions"][precision]["min_agreement"])

    def limits(self, precision: str) -> dict[str, Any]:
        """How golden frames must come out, by class and output: see export.bundle.reproduction."""
        self.segmentor(precision)
        return self.checks["precisions"][precision]

    def golden(self) -> list[Golden]:
        """The golden frames, in the order they were written."""
        return [self._golden(name) for name in images_in(self.files)]

    def _golden(self, name: str) -> Golden:
        confidence, logits = confidence_of(name), logits_of(name)
        golden = Golden(
            read_png(self.path(name), "RGB"),
            read_png(self.path(labels_of(name)), "L"),
            read_png(self.path(confidence), "L") if confidence in self.files else None,
            read_npy(self.path(logits)) if logits in self.files else None,
        )
        sizes = {m.shape for m in (golden.labels, golden.confidence) if m is not None}
        if sizes != {golden.image.shape[:2]}:
            raise UserError(
                f"bundle {self.folder}: labels or confidence of {name!r} are of another size than "
                "the frame: export the run again"
            )
        return golden

    def golden_drawn(self, graph: GraphSpec) -> list[GoldenDrawn]:
        """What torch drew of the golden frames, or of their labels, whichever the graph takes.

        Raises UserError when the bundle has no such graph.
        """
        self.path(graph.file)
        return [
            GoldenDrawn(
                read_png(self.path(name), "RGB")
                if graph.channels
                else read_png(self.path(labels_of(name)), "L"),
                read_png(self.path(drawn_of(name, graph.golden)), "RGB"),
            )
            for name in images_in(self.files)
        ]


def read_bundle(folder: Path, trust: Trust = ANY) -> Bundle:
    """The bundle in `folder`, every file compared with its hash.

    With a digest or a key in `trust` nothing in the bundle can have been changed, the manifest
    included. Raises UserError: no bundle there, a newer format, one that is not to be trusted, or a
    damaged, missing or changed file.
    """
    values = read_manifest(folder)
    bundle = bundle_of(folder, values)
    trust.check(folder, bundle.digest)
    for name, wanted in bundle.files.items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"bundle {folder} lacks its file {name!r}: export or copy it again")
        found = _sha256(path)
        if found != wanted:
            raise UserError(
                f"bundle {folder}: {name!r} is not the file that was checked (sha256 "
                f"{found}, wanted {wanted}): export or copy the bundle again"
            )
    return bundle


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def bundle_of(folder: Path, values: dict[str, Any]) -> Bundle:
    """The manifest's values as a Bundle, or UserError saying which of them is wrong."""
    known = {f.name for f in fields(Bundle)} - {"folder", "digest"}
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
    fixed["precisions"] = tuple(values["precisions"])
    bundle = Bundle(folder=folder, digest=values.get("sha256", ""), **fixed)
    if len(bundle.palette) != len(bundle.classes):
        raise UserError(f"{folder / MANIFEST} has another number of colours than of classes")
    for name in bundle.files:
        if not plain(name):
            raise UserError(f"{folder / MANIFEST} names a file outside the bundle: {name!r}")
    _check_whole(bundle)
    return bundle


def _check_whole(bundle: Bundle) -> None:
    """UserError unless every graph has its file, its golden images and its checks."""
    manifest = bundle.folder / MANIFEST
    images = images_in(bundle.files) or ["golden/0.png"]
    wanted = {*map(segmentor_file, bundle.precisions), *images, *map(labels_of, images)}
    limits = [key for check in bundle.checks["precisions"].values() for key in check]
    for limit, file_of in (("max_confidence_error", confidence_of), ("max_logit_error", logits_of)):
        wanted |= set(map(file_of, images)) if limit in limits else set()
    if set(bundle.checks["precisions"]) != set(bundle.precisions):
        raise UserError(f"{manifest} lists other precisions than were checked: export again")
    for graph in drawing_graphs():
        if (graph.file in bundle.files) != (graph.kind in bundle.checks):
            raise UserError(f"{manifest} checks a {graph.kind}, or lists one, but not both")
        if graph.file in bundle.files:
            wanted |= {drawn_of(name, graph.golden) for name in images}
    if missing := wanted - bundle.files.keys():
        raise UserError(f"{manifest} lists no {', '.join(sorted(missing))}: export again")
