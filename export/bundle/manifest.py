"""A bundle's manifest as a file that carries its own hash, and which values it may hold.

It comes from a disk, so nothing is taken on trust.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, cast

from export.bundle.graphs import PRECISIONS, drawing_graphs
from export.bundle.reproduction import (
    EXACT_AGREEMENT,
    EXACT_CELL,
    EXACT_CLASS,
    EXACT_CONFIDENCE,
    EXACT_LOGITS,
)
from roadshift import UserError

FORMAT = 3
OLDEST = 2
"""Its golden frames have labels alone, and its limits are not by class."""
MANIFEST = "bundle.json"
MOST_CLASSES = 255
"""Labels are bytes, and 255 is none."""


def read_manifest(folder: Path) -> dict[str, Any]:
    """The values in bundle.json; UserError unless its format and its hash are right."""
    path = folder / MANIFEST
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise UserError(f"{folder} {what}: wanted a bundle, a folder made by 'roadshift export'")
    if not path.is_file():
        run = "a run, " if (folder / "run.json").is_file() else ""
        raise UserError(
            f"{folder} is {run}not a bundle (no {MANIFEST}): make one with "
            "'roadshift export RUN --out BUNDLE'"
        )
    try:
        read = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}): export or copy the bundle again") from error
    if not isinstance(read, dict) or not isinstance(read.get("format"), int):
        raise UserError(f"{path} is not a bundle's manifest (no format number): export it again")
    values = cast(dict[str, Any], read)
    if not OLDEST <= values["format"] <= FORMAT:
        raise UserError(
            f"{path} has format {values['format']} and this roadshift reads {OLDEST} to {FORMAT}: "
            + ("install a newer one" if values["format"] > FORMAT else "export the run again")
        )
    if values.get("sha256") != _digest(values):
        raise UserError(f"{path} was changed after it was written: export or copy the bundle again")
    return values


def sealed(values: dict[str, Any]) -> dict[str, Any]:
    """The values as they are written: as JSON has them, with the format number and their hash."""
    plain_json = json.loads(json.dumps({"format": FORMAT, **values}))  # tuples become lists
    return {**plain_json, "sha256": _digest(plain_json)}


def _digest(values: dict[str, Any]) -> str:
    rest = {key: value for key, value in values.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def plain(name: str) -> bool:
    """Whether a name stays inside the folder, on every system."""
    path = PurePosixPath(name)
    return (
        bool(re.fullmatch(r"[\w.+/ -]+", name))
        and path.as_posix() == name
        and not (path.is_absolute() or ".." in path.parts or name == MANIFEST)
    )


def _ints(value: Any, count: int, low: int, high: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == count
        and all(type(v) is int and low <= v <= high for v in value)
    )


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) and v for v in value)


def _precisions(value: Any) -> bool:
    """Known ones, each once, and fp32 first."""
    known = [p for p in PRECISIONS if isinstance(value, list) and p in value]
    return known[:1] == ["fp32"] and value == known


def _checks(value: Any) -> bool:
    if not (isinstance(value, dict) and isinstance(value.get("precisions"), dict)):
        return False
    usual = value.get("self_check", {"mean": 0, "std": 0})
    if not (isinstance(usual, dict) and all(map(_real, (usual.get("mean"), usual.get("std"))))):
        return False
    made = value["precisions"]
    if not (all(map(_limits, made.values())) and _exact(made.get("fp32", {}))):
        return False
    if not _texts(value.get("no_evidence", [])):
        return False
    return all(
        isinstance(value[key], dict) and _real(value[key].get("min_psnr"))
        for key in (graph.kind for graph in drawing_graphs())
        if key in value
    )


def _real(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < 1e300 and math.isfinite(value)


def _limits(check: Any) -> bool:
    """Of one precision: a share, shares by class and errors of the other outputs."""
    if not isinstance(check, dict) or not isinstance(check.get("classes", {}), dict):
        return False
    if not _sizes(check.get("sizes", [])):
        return False
    classes = check.get("classes", {}).values()
    if not all(isinstance(c, dict) and type(c.get("pixels")) is int for c in classes):
        return False
    shares = [check.get("min_agreement"), *(c.get("min_agreement") for c in classes)]
    errors = [check.get(f"max_{what}_error", 0.0) for what in ("confidence", "logit", "logit_cell")]
    errors += [c.get("max_confidence_error", 0.0) for c in classes]
    if not all(map(_real, (*shares, *errors))):
        return False
    return all(0 <= (n or 0) <= 1 for n in shares) and all(n >= 0 for n in errors)


def _optional_size(value: Any) -> bool:
    return value is None or _ints(value, 2, 1, 1 << 16)


def _exact(check: dict[str, Any]) -> bool:
    """Whether fp32 is held to what export holds it to: its limits are the same in every bundle, but
    that an older format lacks some."""
    classes = check.get("classes", {}).values()
    return (
        check.get("min_agreement", 1) >= EXACT_AGREEMENT
        and all(c["min_agreement"] >= EXACT_CLASS for c in classes)
        and all(c.get("max_confidence_error", 0) <= 2 * EXACT_CONFIDENCE for c in classes)
        and check.get("max_confidence_error", 0) <= EXACT_CONFIDENCE
        and check.get("max_logit_error", 0) <= EXACT_LOGITS
        and check.get("max_logit_cell_error", 0) <= EXACT_CELL
    )


def _sizes(value: Any) -> bool:
    """Of what a precision was compared on."""
    return isinstance(value, list) and all(
        isinstance(one, dict) and _ints(one.get("size"), 2, 1, 1 << 16) for one in value
    )


RIGHT: dict[str, Callable[[Any], bool]] = {
    # A server puts the name into its addresses.
    "name": lambda v: isinstance(v, str) and bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", v)),
    "classes": lambda v: _texts(v) and 0 < len(set(v)) == len(v) <= MOST_CLASSES,
    "palette": lambda v: isinstance(v, list) and all(_ints(colour, 3, 0, 255) for colour in v),
    "size": _optional_size,
    "min_size": lambda v: _ints(v, 2, 1, 1 << 16),
    "precisions": _precisions,
    "align_corners": lambda v: isinstance(v, bool),
    "route": lambda v: v in ("exact", "dense"),
    "opset": lambda v: type(v) is int,
    "provenance": lambda v: isinstance(v, dict) and _optional_size(v.get("work_size")),
    "scores": lambda v: isinstance(v, dict),
    "checks": _checks,
    "files": lambda v: isinstance(v, dict) and _texts([*v, *v.values()]),
}
