"""A TOML file with options of a command, under the names that they have on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App, CycloptsError
from cyclopts.config import Toml

from roadshift import UserError

if TYPE_CHECKING:
    from cyclopts.argument import ArgumentCollection

Source = Callable[[App, tuple[str, ...], "ArgumentCollection"], None]


def file_named_by(option: str) -> Source:
    """What reads the file that `option` names on the command line, which wins over the file.

    It raises UserError for a file that cannot be read, and for a value of another type than the
    option's; the library itself refuses keys that are no options.
    """

    def read(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        given = arguments.match(option)[0].tokens
        if not given:
            return
        path = Path(given[-1].value)
        source = Toml(path, must_exist=True, use_commands_as_keys=False)
        values = _values(source, path)
        source(app, commands, arguments)
        for argument in arguments:
            if any(token.source == source.source for token in argument.tokens):
                _check(argument, values, path)

    return read


def _values(source: Toml, path: Path) -> dict[str, Any]:
    try:
        return source.config
    except (OSError, CycloptsError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(
            f"cannot read the options in {path} ({reason}): wanted a TOML file, a line for each "
            "option as in port = 8000"
        ) from error


def _check(argument: Any, values: dict[str, Any], path: Path) -> None:
    """That the library, which knows text alone, has read what the file says: 80.5 is no port."""
    names = {"--" + key.replace("_", "-"): key for key in values}
    read = argument.convert()
    for key in (names[name] for name in argument.names if name in names):
        value = values[key]
        if isinstance(read, tuple):
            same = isinstance(value, list)
        else:
            same = isinstance(value, str) if isinstance(read, Path) else read == value
        if not same:
            wanted = getattr(argument.hint, "__name__", argument.hint)
            raise UserError(f"{path}: {key} is {value!r}: wanted {wanted}")
