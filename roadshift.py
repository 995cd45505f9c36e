"""The command line: one line a command, each stage imported only when its command is called."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Sequence

__version__ = "0.1.0"


class UserError(Exception):
    """The user's mistake: what was found, what was wanted, what to do. Ends with exit code 2."""


class Failure(Exception):  # noqa: N818 - the opposite of a user's error
    """Something that was asked for rightly and could not be done. Ends with exit code 1."""


def unknown(kind: str, found: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not one of `known`, with the nearest known name."""
    names = sorted(known)
    near = difflib.get_close_matches(found, names, n=1, cutoff=0.5)
    guess = f"did you mean {near[0]!r}? " if near else ""
    return UserError(f"unknown {kind} {found!r}: {guess}known: {', '.join(names)}")


COMMANDS = {
    "quickstart": "demo.quickstart:quickstart",
    "data": "adapt.cli_data:app",
    "adapt": "adapt.cli:app",
    "evaluate": "adapt.cli:evaluate",
    "export": "export.cli:export",
    "segment": "serve.cli:segment",
    "serve": "serve.cli:serve",
    "demo": "demo.cli:demo",
}
