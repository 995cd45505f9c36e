"""Commands that meet on disk: each is run once, and a second run goes on where one stopped."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from roadshift import Failure, UserError
from serve.media.files import write_whole

RECORD = "steps.json"


class Step(NamedTuple):
    """What a person calls the step, the words after `roadshift`, the file it must leave."""

    name: str
    command: tuple[str, ...]
    result: Path


class Done(NamedTuple):
    """A step that was done before, or now: its command and how long it took."""

    command: tuple[str, ...]
    seconds: float


Runner = Callable[[Sequence[str]], int]
Say = Callable[[str], None]


def run_command(command: Sequence[str]) -> int:
    """Runs `roadshift COMMAND...` with this Python, its output shown; returns the exit code."""
    return subprocess.run([sys.executable, "-m", "roadshift", *command], check=False).returncode


def shown(command: Sequence[str]) -> str:
    """The command as a person would type it."""
    return shlex.join(["roadshift", *command])


def run_steps(
    steps: Sequence[Step], folder: Path, *, again: str, say: Say, run: Runner = run_command
) -> dict[str, Done]:
    """Runs the steps whose results are not in `folder` yet; returns all of them with their times.

    `again` is the command that goes on after a failure. Raises Failure, naming the step and its
    command, where a step fails or leaves no result; what was done before stays. Raises UserError
    where `folder` holds other work, or the same steps with other settings.
    """
    done = _read_record(folder, steps)
    for number, step in enumerate(steps, 1):
        line = shown(step.command)
        where = f"[{number}/{len(steps)}] {step.name}"
        if step.name in done and step.result.exists():
            say(f"{where}: done before")
            continue
        say(f"{where}\n  $ {line}")
        start = time.monotonic()
        code = run(step.command)
        what = f"exit code {code}" if code else f"no {step.result}"
        if code or not step.result.exists():
            raise Failure(
                f"step {number} of {len(steps)} ({step.name}) ended with {what}; its command was: "
                f"{line} . What is done is kept in {folder}: repair what the lines above name, "
                f"then go on with: {again}"
            )
        done[step.name] = Done(step.command, time.monotonic() - start)
        _write_record(folder, done)
    return done


def _read_record(folder: Path, steps: Sequence[Step]) -> dict[str, Done]:
    """The steps done before in `folder`, which is made where it is missing."""
    path = folder / RECORD
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file, and a folder is wanted: name another with --out")
    if not path.exists():
        if folder.exists() and any(folder.iterdir()):
            raise UserError(
                f"{folder} is not empty and was not made by quickstart (no {RECORD}): "
                "name another folder with --out"
            )
        _write_record(folder, {})
        return {}
    try:
        read = cast("Mapping[str, Any]", json.loads(path.read_bytes()))
        done = {
            name: Done(tuple(step["command"]), float(step["seconds"]))
            for name, step in read.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is damaged ({error}): delete {folder} or name another with --out"
        ) from error
    for step in steps:
        if step.name in done and done[step.name].command != step.command:
            raise UserError(
                f"{folder} was made with other settings ({shown(done[step.name].command)}; now: "
                f"{shown(step.command)}): delete it or name another with --out"
            )
    return done


def _write_record(folder: Path, done: Mapping[str, Done]) -> None:
    content = {name: step._asdict() for name, step in done.items()}
    write_whole(folder / RECORD, json.dumps(content, indent=2).encode() + b"\n")
