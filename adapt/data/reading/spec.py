"""A set of images as the command line names it, taken apart."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from adapt.data.reading.folders import listed
from roadshift import UserError


class Spec(NamedTuple):
    """A spec taken apart: `split`, `pattern` and `classes` are "" where it does not name them."""

    text: str
    kind: str
    path: Path
    classes: str
    split: str
    pattern: str

    def keeps(self, name: str) -> bool:
        """Whether the pattern lets an image through; it may match the name, its end or its stem."""
        wanted = not self.pattern.startswith("!")
        pattern = self.pattern.removeprefix("!")
        if not pattern:
            return True
        path = PurePosixPath(name)
        return wanted == any(fnmatchcase(n, pattern) for n in (name, path.name, path.stem))


def split_of(spec: Spec, present: list[str]) -> str:
    """The spec's split, train when it names none; UserError when it is not among `present`."""
    split = spec.split or "train"
    if split in present:
        return split
    default = "" if spec.split else ", which is taken when none is named"
    raise UserError(
        f"{spec.text}: there is no split {split!r}{default}; splits there: {listed(present)}; "
        f"write {spec.kind}:{spec.path}#SPLIT, or a file-name pattern with a * in it"
    )
