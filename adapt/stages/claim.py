"""Whose a run folder is: what run.json says, and whether the one there is this very run."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import roadshift
from adapt import checkpoint
from adapt.checkpoint import RunInfo
from adapt.data.cities import class_map_of
from adapt.data.classes import Colour
from adapt.data.datasets import Images, LabelledImages
from adapt.run import NEWER_FIELDS, Run, parse_size
from roadshift import UserError, __version__


@runtime_checkable
class Named(Protocol):
    """Classes and their colours: a labelled set's, or a run's."""

    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def palette(self) -> tuple[Colour, ...]: ...


def fingerprints(source: LabelledImages, target: Images) -> dict[str, str]:
    """By which a run is known to have had the same data."""
    return {"source": source.fingerprint, "target": target.fingerprint}


def describe(
    name: str, settings: Mapping[str, Any], run: Run, named: Named, fingerprints: dict[str, str]
) -> RunInfo:
    """What run.json will say."""
    return RunInfo(
        method=name,
        network=run.network,
        classes=named.classes,
        class_map=class_map_of(run),
        palette=named.palette,
        source=run.source,
        target=run.target,
        work_size=parse_size(run.size, "size"),
        commit=_commit(),
        steps=run.steps,
        seed=run.seed,
        settings=json.loads(json.dumps(dict(settings))),
        parts={"segmentor": {"kind": run.network, "classes": len(named.classes)}},
        fingerprints=fingerprints,
        versions={
            "roadshift": __version__,
            "python": platform.python_version(),
            **{p: importlib.metadata.version(p) for p in ("torch", "torchvision", "lightning")},
        },
    )


def claim(out: Path, info: RunInfo) -> None:
    """Make the run folder, or check that the one there is this very run.

    A run that saved nothing yet is replaced. Raises UserError naming the first setting that
    differs, or the data that changed.
    """
    if not (out / "run.json").is_file() and out.is_dir() and any(out.iterdir()):
        raise UserError(f"{out} holds other things and no run; give --out an empty folder")
    if not (out / "last.safetensors").is_file():
        checkpoint.write_info(out, info)
        return
    there = checkpoint.read_info(out)
    mine = {"method": info.method, **info.settings, **info.fingerprints}
    # A setting that an earlier version did not have was as it is by default.
    before: dict[str, Any] = {f.name: f.default for f in fields(Run) if f.name in NEWER_FIELDS}
    before |= {"target_norm": "joint", "mix": False, "needs": info.settings.get("needs")}
    theirs = {"method": there.method, **before, **there.settings, **there.fingerprints}
    theirs = {k: v for k, v in theirs.items() if k in mine or k not in before}
    for key in sorted(mine.keys() | theirs.keys()):
        if mine.get(key) != theirs.get(key):
            raise UserError(
                f"{out} holds another run: {key} is {theirs.get(key)!r} there and "
                f"{mine.get(key)!r} here; give another --out, or delete that folder"
            )


def _commit() -> str:
    """The code's git commit, with a + when it was changed since; "" where there is no git."""
    root = Path(roadshift.__file__).parent
    commands = [
        ["git", "-C", str(root), *c]
        for c in (("rev-parse", "HEAD"), ("status", "--porcelain", "-uno"))
    ]
    try:
        head, dirty = (
            subprocess.run(c, capture_output=True, text=True, check=True).stdout for c in commands
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head.strip() + "+" * bool(dirty)
