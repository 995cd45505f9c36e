"""How a set of images is named on the command line: KIND:PATH[@CLASSES][#[split][/pattern]]."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from roadshift import UserError, unknown

KINDS = ("gta5", "synthia", "cityscapes", "camvid", "folder", "toytown")


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


def parse(text: str) -> Spec:
    """Take a spec apart; UserError for an unknown kind or a spec without a path."""
    kind, colon, rest = text.partition(":")
    if not colon and kind not in KINDS:
        raise UserError(
            f"{text!r} does not say what kind of data it is; write KIND:PATH, e.g. folder:{text} "
            f"(kinds: {', '.join(KINDS)})"
        )
    if kind not in KINDS:
        raise unknown("kind of data", kind, KINDS)
    path, fragment = _cut(rest, "#")
    path, classes = _cut(path, "@")
    if not path:
        raise UserError(f"{text!r} names no path; write {kind}:{_example(kind)}")
    split, pattern = _fragment(fragment)
    return Spec(text, kind, Path(path).expanduser(), classes, split, pattern)


def _cut(text: str, mark: str) -> tuple[str, str]:
    """Cut at the last mark, unless the mark is part of a path that exists."""
    before, found, after = text.rpartition(mark)
    if not found or Path(text).expanduser().exists():
        return text, ""
    return before, after


def _fragment(fragment: str) -> tuple[str, str]:
    """The split and the pattern: a first part with a glob character or "!" is already a pattern."""
    first, _, rest = fragment.partition("/")
    if any(c in first for c in "*?[") or first.startswith("!"):
        return "", fragment
    return first, rest


def _example(kind: str) -> str:
    return "game" if kind == "toytown" else "/path/to/the/data"
