"""A class map: which classes, of either city, are trained as one.

    {"car": "vehicle", "truck": "vehicle", "bus": "vehicle", "person": "human", "rider": "human"}

Names that are not mapped stay; names are compared as everywhere (`canonical`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from adapt.data.classes import canonical
from roadshift import UserError, unknown

WANTED = 'wanted {"car": "vehicle", "truck": "vehicle", ...}: names of classes, each to one name'


def read_class_map(path: Path) -> dict[str, str]:
    """The map of a file, canonical names; UserError saying what is wrong with it."""
    try:
        raw: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"--map {path} is not a readable JSON file ({error}); {WANTED}") from error
    names: list[Any] = [*raw, *raw.values()] if isinstance(raw, dict) else []
    if not (names and all(isinstance(name, str) and name.strip() for name in names)):
        raise UserError(f"--map {path} is no class map; {WANTED}")
    found = {canonical(k): canonical(v) for k, v in raw.items()}
    for name, group in found.items():
        further = found.get(group, group)
        if further != group:
            raise UserError(
                f"--map {path} maps {name!r} to {group!r} and {group!r} to {further!r}"
                + (": a cycle" if further == name else "")
                + "; map every class at once to its last name"
            )
    return found


def must_know(path: str, class_map: Mapping[str, str], known: Iterable[str]) -> None:
    """UserError for a mapped class that neither city has."""
    there = {canonical(name) for name in known}
    for name in class_map:
        if name not in there:
            raise UserError(f"--map {path}: {unknown('class', name, there)}")
