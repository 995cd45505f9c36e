"""The run folder's format: run.json says what the run is, *.safetensors what it learnt.

    run.json                format number, settings, classes, versions, data fingerprints
    last.safetensors        networks and optimizers after the last saved step: the headline.
                            by the roles of run.json's parts: `segmentor.*`, or `segmentor_A.*` and
                            so on of several that are fused; `translator.*`, `reconstructor.*`
    best.safetensors        only with --select-on, the best on labelled target images, or with
                            --keep-best-by, the best by a signal that needs no label
    step_000500.safetensors only with --keep-every: the networks of earlier steps
    metrics.jsonl, tensorboard/, pictures/, evaluations/

A file is written beside its place and renamed into it, so it is whole or the one before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, cast

from torch import nn

from adapt.networks import Part, build_part
from adapt.networks.image_generator import Reconstructor, Translator
from adapt.networks.segmentor import Segmentor
from adapt.networks.segmentors.fused import Fused
from adapt.networks.segmentors.translated import Translated
from adapt.saved_state import kept_at, kept_steps, load
from roadshift import UserError, replacing

FORMAT = 3
"""3: a run's networks are its parts, by their roles; in 2 it had a segmentor, and could have a
translator and a reconstructor."""
SEGMENTOR = "segmentor"


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """What run.json holds, and of a run that was read which checkpoint's networks those are."""

    format: int = FORMAT
    method: str
    network: str
    classes: tuple[str, ...]
    class_map: dict[str, str] = field(default_factory=dict[str, str])
    """Names of a data set's classes by which they were trained, where --map gave others."""
    palette: tuple[tuple[int, int, int], ...]
    source: str
    target: str
    work_size: tuple[int, int] | None
    commit: str
    steps: int
    seed: int
    settings: dict[str, Any]
    fingerprints: dict[str, str]
    versions: dict[str, str]
    parts: dict[str, Part] = field(default_factory=dict[str, Part])
    """The networks of the result by their roles: "segmentor", or several that begin so (their mean
    is deployed); "translator", F, where that is G(F(x)); "reconstructor", M, drawing label maps."""
    checkpoint: str = "last"
    scores: dict[str, Any] = field(default_factory=dict)
    """the checkpoint's evaluations so far, by data spec"""


class SavedRun(NamedTuple):
    """What a run learnt (float32, eval mode, on the CPU) and where it came from.

    `segmentor` is the whole deployed function, with the translator where there is one.
    """

    segmentor: Segmentor
    info: RunInfo
    reconstructor: Reconstructor | None = None


def read(run: Path, which: str = "last") -> SavedRun:
    """The segmentor of a run's `last` (or `best`) checkpoint, or of a step that was kept ("500").

    Raises UserError when `run` is no run folder, of a newer format, not saved yet, or when the
    checkpoint is damaged or another network's.
    """
    info = read_info(run)
    path = _kept(run, int(which)) if which.isdecimal() else run / f"{which}.safetensors"
    if not path.is_file():
        raise UserError(
            f"{run} has no {path.name}: nothing was saved yet; let `roadshift adapt` reach "
            "its first checkpoint"
        )
    try:
        parts = {role: build_part(part).eval() for role, part in info.parts.items()}
    except (TypeError, KeyError) as error:
        raise UserError(f"{run / 'run.json'} is damaged ({error}); start the run again") from error
    load(path, parts)
    info = replace(info, checkpoint=which, scores=_scores(run, which, info.work_size))
    return SavedRun(_deployed(parts), info, cast(Reconstructor | None, parts.get("reconstructor")))


def alone(saved: SavedRun) -> dict[str, Segmentor]:
    """The segmentors of which a run deploys the mean, by their names (A, B); empty for one."""
    if not isinstance(saved.segmentor, Fused):
        return {}
    roles = [role for role in saved.info.parts if role.startswith(SEGMENTOR)]
    names = [role.removeprefix(SEGMENTOR).strip("_") for role in roles]
    return dict(zip(names, saved.segmentor.each, strict=True))


def names_of(runs: Sequence[Path]) -> list[str]:
    """The folders' names, or their paths where two have the same name."""
    names = [run.resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run) for run in runs]


def read_info(run: Path) -> RunInfo:
    """run.json of a run folder, without the scores of its evaluations."""
    path = run / "run.json"
    if not path.is_file():
        raise UserError(f"{run} is not a run folder: it has no run.json; give `adapt`'s --out")
    try:
        raw: dict[str, Any] = json.loads(path.read_text())
        if raw["format"] > FORMAT:
            raise UserError(
                f"{path} has format {raw['format']}, this roadshift reads up to {FORMAT}; upgrade"
            )
        work = raw["work_size"]
        if raw["format"] < 3:
            _parts_of_format_2(raw)
        raw |= {
            "classes": tuple(raw["classes"]),
            "palette": tuple((r, g, b) for r, g, b in raw["palette"]),
            "work_size": work and (work[0], work[1]),
        }
        return RunInfo(**raw)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}); start the run again") from error


def write_info(run: Path, info: RunInfo) -> None:
    """Write run.json."""
    read_later = {"checkpoint", "scores"}
    plain = {f.name: getattr(info, f.name) for f in fields(info) if f.name not in read_later}
    with replacing(run / "run.json") as temporary:
        temporary.write_text(json.dumps(plain, indent=1))


def _kept(run: Path, step: int) -> Path:
    path = kept_at(run, step)
    if not path.is_file():
        steps = kept_steps(run)
        raise UserError(
            f"{run} kept no step {step}; "
            + (f"it has {', '.join(map(str, steps))}" if steps else "train with --keep-every")
        )
    return path


def _scores(run: Path, which: str, size: tuple[int, int] | None) -> dict[str, Any]:
    """The evaluations of one checkpoint as it is deployed: at that size, one view of an image."""
    found: dict[str, Any] = {}
    for path in sorted((run / "evaluations").glob("*.json")):
        evaluation = json.loads(path.read_text())
        own = evaluation["size"] and tuple(evaluation["size"])
        as_deployed = evaluation["scales"] == [1.0] and not evaluation["flip"] and own == size
        if evaluation["checkpoint"] == which and as_deployed:
            found[evaluation["data"]] = evaluation
    return found


def _deployed(parts: Mapping[str, nn.Module]) -> Segmentor:
    """From an image to logits, by all the parts that this takes."""
    found = [cast(Segmentor, part) for role, part in parts.items() if role.startswith(SEGMENTOR)]
    if not found:
        raise UserError("run.json names no segmentor among its parts; start the run again")
    segmentor = found[0] if len(found) == 1 else Fused(found)
    if translator := cast(Translator | None, parts.get("translator")):
        segmentor = Translated(translator, segmentor)
    return segmentor.eval()


def _parts_of_format_2(raw: dict[str, Any]) -> None:
    classes = {"classes": len(raw["classes"])}
    parts = {SEGMENTOR: {"kind": raw["network"], **classes}}
    translator, reconstructor = raw.pop("translator", None), raw.pop("reconstructor", None)
    if translator:
        parts["translator"] = {"kind": "translator", **translator}
    if reconstructor:
        parts["reconstructor"] = {"kind": "reconstructor", **classes, **reconstructor}
    raw |= {"format": FORMAT, "parts": parts}
