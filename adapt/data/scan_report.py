"""What a scan found, as a JSON file that later runs look up to leave bad files out.

    {"format": 1, "spec": "camvid:/data/camvid", "images": 367,
     "content": "<sha256 of the images' names and sizes in bytes>",
     "labels": "<the same of the label files and the meaning of their ids>" or null without labels,
     "sizes": {"360x480": {"images": 367, "first": "0001TP_006690.png"}},
     "pixels": {"road": 9873487, ...}, "ignored": 1234, "unlisted": {"11": 1234},
     "problems": [{"file": "0001TP_006690.png", "of": "image" or "label", "what": "unreadable",
                   "detail": "is truncated (...)"}]}

`sizes` are HEIGHTxWIDTH; `pixels` counts the pixels of each class, `ignored` all others, `unlisted`
the others by raw id. `what` is one of unreadable, constant, mismatched, unlabelled, ignored. The
file lies in $XDG_CACHE_HOME/roadshift/scans (~/.cache without it), named by `content`.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from roadshift import UserError, replacing

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One bad file: the image's name, whether it or its label is bad, and why."""

    file: str
    of: str
    what: str
    detail: str


class SizeCount(NamedTuple):
    """How many images have a size, and the first of them."""

    images: int
    first: str


@dataclass(frozen=True, kw_only=True)
class ScanReport:
    """The fields of the JSON file."""

    spec: str
    images: int
    content: str
    labels: str | None
    sizes: dict[str, SizeCount]
    pixels: dict[str, int]
    ignored: int
    unlisted: dict[int, int]
    problems: tuple[Problem, ...]

    def bad(self, of: str) -> dict[str, str]:
        """The bad images, or the images with bad labels: name -> what is wrong."""
        return {p.file: p.detail for p in self.problems if p.of == of}

    @property
    def other_classes(self) -> bool:
        """Whether labels were read and not one pixel in them is of a known class."""
        return bool(self.ignored) and not any(self.pixels.values())


def cache_path(content: str) -> Path:
    """Where the report on images of this content lies."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "roadshift/scans" / f"{content}.json"


def write_report(report: ScanReport, path: Path) -> None:
    """Write a report, atomically; Failure when the disk refuses."""
    plain = asdict(report)
    plain["sizes"] = {size: found._asdict() for size, found in report.sizes.items()}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"format": FORMAT, **plain}, indent=1))


def read_report(path: Path) -> ScanReport | None:
    """Read a report; None when there is none. UserError for a damaged file or a newer format."""
    if not path.is_file():
        return None
    try:
        raw: dict[str, Any] = json.loads(path.read_text())
        if raw.pop("format") > FORMAT:
            raise UserError(f"{path} was written by a newer roadshift; upgrade, or delete it")
        raw["sizes"] = {size: SizeCount(**found) for size, found in raw["sizes"].items()}
        raw["unlisted"] = {int(number): count for number, count in raw["unlisted"].items()}
        raw["problems"] = tuple(Problem(**problem) for problem in raw["problems"])
        return ScanReport(**raw)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is damaged ({error}); delete it and run `roadshift data scan` again"
        ) from error
