"""How a set of images is named on the command line: KIND:PATH[@CLASSES][#[split][/pattern]]."""

from __future__ import annotations

from pathlib import Path

from adapt.data.reading.layouts import LAYOUTS
from adapt.data.reading.spec import Spec
from roadshift import UserError, unknown


def parse(text: str) -> Spec:
    """Take a spec apart; UserError for an unknown kind or a spec without a path."""
    kind, colon, rest = text.partition(":")
    if not colon and kind not in LAYOUTS:
        raise UserError(
            f"{text!r} does not say what kind of data it is; write KIND:PATH, e.g. folder:{text} "
            f"(kinds: {', '.join(LAYOUTS)})"
        )
    if kind not in LAYOUTS:
        raise unknown("kind of data", kind, LAYOUTS)
    path, fragment = _cut(rest, "#")
    path, classes = _cut(path, "@")
    if not path:
        raise UserError(f"{text!r} names no path; write {kind}:{LAYOUTS[kind].example}")
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
