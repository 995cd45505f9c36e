"""The command line: one line a command, each stage imported only when its command is called."""

from __future__ import annotations

import contextlib
import difflib
import os
import sys
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

__version__ = "0.1.0"

# ONNX Runtime reports its use to its makers unless told not to before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


class UserError(Exception):
    """The user's mistake: what was found, what was wanted, what to do. Ends with exit code 2."""


class Failure(Exception):  # noqa: N818 - the opposite of a user's error
    """Something that was asked for rightly and could not be done. Ends with exit code 1."""


def unknown(kind: str, found: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not one of `known`, with the nearest known name."""
    names = sorted(known)
    begun = [name for name in names if found and name.startswith(found)]
    near = begun or difflib.get_close_matches(found, names, n=1, cutoff=0.5)
    guess = f"did you mean {near[0]!r}? " if near else ""
    return UserError(f"unknown {kind} {found!r}: {guess}known: {', '.join(names)}")


def hxw(size: Sequence[int]) -> str:
    """(height, width) as HEIGHTxWIDTH, as sizes are written and asked for everywhere."""
    height, width = size
    return f"{height}x{width}"


HELP = """Adapt a street-scene segmentor to a new city, export it verified, serve it.

roadshift quickstart shows the whole road on a built-in pair of cities.
"""


@contextlib.contextmanager
def replacing(path: Path) -> Generator[Path]:
    """A temporary path that takes `path`'s place when the block ends well, and vanishes otherwise.

    Makes the folder when it is missing. Raises Failure when the disk refuses; what was at `path`
    before is then still there.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise Failure(
            f"could not write {path} ({error.strerror or error}); nothing that was there is lost: "
            "free some space, or name another place"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


class Command(NamedTuple):
    """Where a command lives, its line in the help, and the extra that installs what it imports."""

    place: str
    help: str
    extra: str


COMMANDS = {
    "quickstart": Command(
        "demo.quickstart.quickstart:quickstart",
        "Train, score and export on two drawn cities, in minutes.",
        "train,cpu",
    ),
    "data": Command("adapt.cli.data:app", "Scan and show labelled or unlabelled images.", "train"),
    "adapt": Command("adapt.cli.adapt:app", "Train a segmentor for another city.", "train"),
    "distill": Command("adapt.cli.distill:distill_run", "Train a small student of a run.", "train"),
    "evaluate": Command(
        "adapt.cli.evaluate:evaluate", "Score a run: per-class IoU and mIoU.", "train"
    ),
    "compare": Command("adapt.cli.compare:compare_runs", "Runs side by side, on a page.", "train"),
    "study": Command("adapt.cli.study:app", "Questions to trained runs.", "train"),
    "export": Command("export.cli.export:export", "A run as a verified bundle.", "train,cpu"),
    "engine": Command("export.cli.engine:engine", "Build a TensorRT engine on this device.", "gpu"),
    "verify": Command("serve.cli.verify:verify", "Check a bundle on this device.", "cpu"),
    "label": Command(
        "serve.cli.label:label", "Label a whole archive of frames, by all cores.", "cpu"
    ),
    "segment": Command(
        "serve.cli.segment:segment", "Segment an image, a folder or a video.", "cpu"
    ),
    "serve": Command("serve.cli.serve:app", "Serve a bundle over HTTP.", "cpu"),
    "demo": Command("demo.cli:demo", "Show a bundle in the browser.", "demo,cpu"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; exit code 0, 1 for a failure, 2 for the user's mistake.

    `--debug` anywhere shows the traceback of an error.
    """
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in tokens
    tokens = [token for token in tokens if token != "--debug"]
    try:
        code = _run(tokens)
    except ImportError as error:
        if debug:
            raise
        code = 1
        print(f"roadshift: {_missing(error, tokens)}", file=sys.stderr)
    except Exception as error:
        if debug:
            raise
        code = 2 if isinstance(error, UserError) else 1
        print(f"roadshift: {_sentence(error)}", file=sys.stderr)
    except KeyboardInterrupt:
        print("roadshift: interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)


def _run(tokens: list[str]) -> int:
    from cyclopts import App, CycloptsError  # noqa: PLC0415 - 0.15 s that `import roadshift` is spared

    app = App(name="roadshift", help=HELP, version=__version__)
    for name, command in COMMANDS.items():
        # The one that is asked for says it at length, and is imported for that.
        own = {} if name in tokens else {"help": command.help}
        app.command(command.place, name=name, **own)
    try:
        app(tokens, exit_on_error=False, print_error=True)
    except CycloptsError:
        return 2
    return 0


def _missing(error: ImportError, tokens: list[str]) -> str:
    """An import that failed, in words: usually an extra that was not installed."""
    cause = error.__cause__ if isinstance(error.__cause__, ImportError) else error
    command = next((COMMANDS[token] for token in tokens if token in COMMANDS), None)
    extra = command.extra if command else "train,cpu,demo"
    if sys.version_info < (3, 11) and "train" in extra:
        return f"this command needs Python 3.11 or newer, and this is {sys.version.split()[0]}"
    return f"{cause}; install what this command needs: pip install 'roadshift[{extra}]'"


def _sentence(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    if isinstance(error, UserError | Failure):
        return text
    return f"{type(error).__name__}: {text.splitlines()[0]} (--debug shows where)"


if __name__ == "__main__":
    from roadshift import main as _main  # the module by its name, so that its errors are one class

    _main()
