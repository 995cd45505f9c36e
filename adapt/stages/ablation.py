"""Ablations: the rows of a table, each a run with some settings changed, and their scores.

A recipe is a TOML file: a title, and under `rows` the name of each row with its changes.

    title = "Direction of translation"
    [rows."S->T"]
    direction = "source_to_target"

The rows share the stages that are made to be shared, where their settings for those are equal.
A row may also change the sizes of the run: size, source_size, crop.
"""

from __future__ import annotations

import json
import re
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Protocol, get_args, get_origin, get_type_hints, runtime_checkable

from rich.table import Table

from adapt.evaluation.evaluate import Views
from adapt.evaluation.score import Evaluation, score
from adapt.run import Run
from roadshift import UserError, replacing, unknown

SIZES = ("size", "source_size", "crop")


@dataclass(frozen=True)
class AblationTable:
    """The title of a table and its rows: what each changes in the settings, or the run's sizes."""

    title: str
    rows: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class AblationRow:
    """A finished row: its scores, and the seconds its own stages took in this call."""

    name: str
    evaluation: Evaluation
    seconds: float


@runtime_checkable
class Train(Protocol):
    """A method as its module trains it; `shared` is where its rows keep common stages."""

    def __call__(self, config: Any, run: Run, *, shared: Path | None) -> bool: ...


def read_recipe(name: str, recipes: Path, config: type[Any]) -> AblationTable:
    """A recipe by its name in the folder `recipes`, or a TOML file, for a method's `config` class.

    Raises UserError for an unknown name, a file that is no recipe, and settings that do not exist
    or cannot have the value.
    """
    path = Path(name) if name.endswith(".toml") else recipes / f"{name}.toml"
    if not path.is_file():
        known = [p.stem for p in recipes.glob("*.toml")]
        raise unknown("recipe", name, known)
    try:
        values = tomllib.loads(path.read_text())
        recipe = AblationTable(
            str(values["title"]), {str(k): dict(v) for k, v in values["rows"].items()}
        )
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{path} is no recipe ({error!r}): wanted a title, and rows with the settings they "
            f"change, as in {sorted(recipes.glob('*.toml'))[0]}"
        ) from error
    rows = {
        row: {k: _fitting(f"{path}, row {row!r}", config, k, v) for k, v in changes.items()}
        for row, changes in recipe.rows.items()
    }
    return AblationTable(recipe.title, rows)


def run_ablation(
    recipe: AblationTable, train: Train, config: Any, run: Run, scored_on: str
) -> list[AblationRow]:
    """Train every row under `run.out` by the method's `train`, then score it.

    What is there already is not repeated. The labels of `scored_on` are read after a row's
    training. Empty in all processes but the first.
    """
    rows: list[AblationRow] = []
    for name, changes in recipe.rows.items():
        out = run.out / re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")
        begun = time.monotonic()
        changed = replace(config, **{k: v for k, v in changes.items() if k not in SIZES})
        sized = replace(run, out=out, **{k: v for k, v in changes.items() if k in SIZES})
        if train(changed, sized, shared=run.out / "stages"):
            seconds = time.monotonic() - begun
            pictures = out / "scored"
            scored = score(out, "last", scored_on, Views(), device=run.device, pictures=pictures)
            rows.append(AblationRow(name, scored, seconds))
    if rows:
        plain = {row.name: {"miou": row.evaluation.miou, "iou": row.evaluation.iou} for row in rows}
        with replacing(run.out / "ablation.json") as temporary:
            temporary.write_text(json.dumps({"title": recipe.title, "rows": plain}, indent=1))
    return rows


def table(recipe: AblationTable, rows: list[AblationRow]) -> Table:
    """IoU by class and mIoU in percent, a line a row."""
    first = rows[0].evaluation
    title = f"{recipe.title}: {first.network} on {first.data}, {first.images} images"
    result = Table("", *first.iou, "mIoU", "s", title=title, title_justify="left")
    for row in rows:
        cells = ["absent" if v is None else f"{v:.1f}" for v in row.evaluation.iou.values()]
        result.add_row(row.name, *cells, f"{row.evaluation.miou:.1f}", f"{row.seconds:.0f}")
    return result


def _fitting(where: str, config: type[Any], key: str, value: Any) -> Any:
    """The value as the setting wants it: a list becomes a tuple."""
    hints = dict.fromkeys(SIZES, str) | get_type_hints(config)
    if key not in hints:
        raise UserError(f"{where}: {unknown('setting', key, hints)}")
    hint = hints[key]
    if isinstance(hint, UnionType):  # a number, or None for the usual one
        hint = next(each for each in get_args(hint) if each is not NoneType)
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise UserError(f"{where}: {unknown(key, str(value), get_args(hint))}")
        return value
    if get_origin(hint) is tuple and isinstance(value, list):
        inner, found = get_args(hint)[0], tuple(value)
    else:
        inner, found = hint, value
    right = (int, float) if inner is float else (inner,)
    each = found if isinstance(found, tuple) else (found,)
    if any(type(v) not in right for v in each):
        raise UserError(
            f"{where}: {key} is {value!r}, wanted a value like {getattr(config, key, '256x512')!r}"
        )
    return found
