"""One shard of an archive: some frames, their label PNGs, and a table that says what is in them.

A shard counts as done once its table is there, which is written last and whole; its name follows
from the frames' names, sizes and times, so a frame that changed is labelled again.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export.bundle import Trust, read_bundle
from export.bundle.graphs import RECONSTRUCTOR, Precision
from roadshift import UserError
from serve.limits import pixel_limit
from serve.media.codec import decode, encode_png
from serve.media.files import IMAGES, write_whole
from serve.models.self_check.self_check import self_check_of
from serve.runtime.engine import Engine
from serve.runtime.image_graphs import image_graph_of

UNSURE = 128
"""a confidence (0..255) below which a pixel counts as unsure"""
UNREAD = "the system could not read or write it"
"""begins the error of a frame that may be read another time"""
Row = dict[str, str]


@dataclass(frozen=True)
class Shard:
    """Paths of frames below an archive's folder."""

    root: Path
    names: tuple[str, ...]

    def table(self, out: Path) -> Path:
        """Where what is known of its frames lies."""
        known = "\n".join(f"{name} {self._stamp(name)}" for name in self.names)
        return out / "shards" / f"{hashlib.sha256(known.encode()).hexdigest()[:16]}.csv"

    def _stamp(self, name: str) -> str:
        try:
            stat = (self.root / name).stat()
        except OSError:
            return "gone"
        return f"{stat.st_size} {stat.st_mtime_ns}"


def shards_of(root: Path, count: int) -> list[Shard]:
    """The images anywhere below a folder, by name, `count` a shard; UserError for none."""
    found = sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.suffix.lower() in IMAGES and path.is_file()
    )
    if not found:
        raise UserError(f"{root} holds no image: wanted files that end in {', '.join(IMAGES)}")
    return [Shard(root, tuple(found[i : i + count])) for i in range(0, len(found), count)]


def columns(classes: Sequence[str], monitor: bool) -> list[str]:
    """Of a shard's table: the shares are of the frame's pixels, confidence is 0..1, `monitor` the
    score of a self-check (see SelfChecked)."""
    shares = [f"share {name}" for name in classes]
    known = ["confidence", "unsure", *(["monitor"] if monitor else [])]
    return ["file", "height", "width", *known, *shares, "error"]


class Labeller:
    """A bundle in a worker's process, on one thread: other cores have workers of their own."""

    def __init__(
        self, bundle: Path, digest: str, out: Path, precision: Precision, monitor: bool
    ) -> None:
        """With `monitor` it takes a bundle that `self_check_of` has a check for. UserError for
        another bundle than `digest` says: on another machine, or put there meanwhile."""
        self.out = out
        read = read_bundle(bundle, Trust(digest=digest))
        self.engine = Engine(read, threads=1, precision=precision)
        self.max_pixels = pixel_limit(read)
        self.check = self_check_of(read) if monitor else None
        if self.check is not None:
            self.check.prepare()
        self.reconstructor = image_graph_of(read, RECONSTRUCTOR, threads=1) if monitor else None

    def label(self, shard: Shard) -> None:
        """Labels its frames, then writes its table, with a row also of what cannot be read."""
        path = shard.table(self.out)  # of the frames as they are before they are read
        table = io.StringIO(newline="")
        names = columns(self.engine.bundle.classes, self.check is not None)
        writer = csv.DictWriter(table, names, restval="")
        writer.writeheader()
        writer.writerows(self._rows(shard))
        write_whole(path, table.getvalue().encode())

    def _rows(self, shard: Shard) -> Iterator[Row]:
        for name in shard.names:
            try:
                yield {"file": name, **self._labelled(shard.root / name, name)}
            except UserError as error:
                yield {"file": name, "error": str(error)}
            except OSError as error:
                yield {"file": name, "error": f"{UNREAD} ({error.strerror or error})"}

    def _labelled(self, path: Path, name: str) -> Row:
        image = decode(path.read_bytes(), self.max_pixels)
        answer = self.engine.segment(image[None], confidence=True)
        labels, sure = answer.labels[0], answer.confidence
        assert sure is not None
        write_whole(self.out / "labels" / f"{name}.png", encode_png(labels))
        classes = self.engine.bundle.classes
        shares = np.bincount(labels.ravel(), minlength=len(classes)) / labels.size
        found = {
            "height": str(image.shape[0]),
            "width": str(image.shape[1]),
            "confidence": f"{sure.mean() / 255:.4f}",
            "unsure": f"{(sure < UNSURE).mean():.4f}",
        }
        if self.check is not None and self.reconstructor is not None:
            drawn = self.reconstructor.draw(answer.labels)[0]
            found["monitor"] = f"{self.check(image, drawn).score:.3f}"
        return found | {f"share {c}": f"{s:.6f}" for c, s in zip(classes, shares, strict=True)}


def rows_of(table: Path) -> list[Row]:
    """What a shard's table says."""
    with table.open(newline="") as file:
        return list(csv.DictReader(file))
