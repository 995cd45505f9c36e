"""classes.json: which class an id of a folder's label files is.

    {"classes": [{"id": 0, "name": "sky", "color": [70, 130, 180]}, ...]}

`color` (RGB, 0..255) may be left out. Two ids of one name are one class. Ids that are not listed,
and those named void, unlabelled or ignore, are neither learnt nor scored.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from adapt.data.classes import CLASS_SETS, IGNORE, VOID, Colour, canonical, palette_of
from adapt.data.reading.spec import Spec
from roadshift import UserError, unknown


class ClassTable(NamedTuple):
    """The class of every raw id, the classes in the order of the file, and their RGB colours."""

    ids: dict[int, str]
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]


def table_of_set(name: str) -> ClassTable:
    """Ids 0, 1, ... in the order of a named class set; UserError for an unknown one."""
    if name not in CLASS_SETS:
        raise unknown("class set", name, CLASS_SETS)
    names, palette = CLASS_SETS[name]
    return ClassTable(dict(enumerate(names)), names, palette)


def fixed_table(ids: dict[int, str], names: tuple[str, ...], spec: Spec) -> ClassTable:
    """The table of a kind whose ids are known; @SET leaves only the classes of that set."""
    if not spec.classes:
        return ClassTable(ids, names, palette_of(names))
    wanted = table_of_set(spec.classes)
    return ClassTable(ids, wanted.classes, wanted.palette)


def read_classes(path: Path) -> ClassTable:
    """Read a classes.json; UserError saying what is wrong with it and what it should look like."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not a readable JSON file ({error}); {WANTED}") from error
    if not (isinstance(raw, dict) and isinstance(raw.get("classes"), list)):
        raise UserError(f'{path} has no list "classes"; {WANTED}')
    ids: dict[int, str] = {}
    colours: dict[str, Colour] = {}
    for item in raw["classes"]:
        number, name = _entry(item, path)
        if number in ids:
            raise UserError(f"{path} gives id {number} twice, for {ids[number]} and {name}")
        ids[number] = name
        colours.setdefault(name, _colour(item, name, path))
    known = {number: name for number, name in ids.items() if name not in VOID}
    classes = tuple(dict.fromkeys(known.values()))
    if not classes:
        raise UserError(f"{path} names no class to learn; {WANTED}")
    if len(classes) > IGNORE:
        raise UserError(
            f"{path} names {len(classes)} classes; at most {IGNORE} fit in a label map; leave "
            "some out"
        )
    return ClassTable(known, classes, tuple(colours[name] for name in classes))


WANTED = 'wanted {"classes": [{"id": 0, "name": "road", "color": [128, 64, 128]}, ...]}'


def _entry(item: Any, path: Path) -> tuple[int, str]:
    number, name = (item.get("id"), item.get("name")) if isinstance(item, dict) else (None, None)
    if not (type(number) is int and isinstance(name, str) and name.strip()):
        raise UserError(f"{path} has the entry {json.dumps(item)}; {WANTED}")
    # 255 may be named, as long as the name says that it is ignored.
    if not 0 <= number < 2**16 or (number == IGNORE and canonical(name) not in VOID):
        raise UserError(
            f"{path} gives {name!r} the id {number}; ids are 0 to 65535, and {IGNORE} is "
            "kept for pixels to ignore"
        )
    return number, canonical(name)


def _colour(item: dict[str, Any], name: str, path: Path) -> Colour:
    colour = item.get("color")
    if colour is None:
        return palette_of([name])[0]
    ok = isinstance(colour, list) and len(colour) == 3
    if not (ok and all(type(c) is int and 0 <= c <= 255 for c in colour)):
        raise UserError(f"{path} gives {name!r} the color {json.dumps(colour)}; {WANTED}")
    return colour[0], colour[1], colour[2]
