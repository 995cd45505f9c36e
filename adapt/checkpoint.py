"""The run folder's format: run.json says what the run is, *.safetensors what it learnt.

    run.json                format number, settings, classes, versions, data fingerprints
    last.safetensors        networks and optimizers after the last saved step: the headline.
                            `segmentor.*` is G; `translator.*` and `reconstructor.*` are F and M of
                            a method that has them
    best.safetensors        only with --select-on: best on labelled target images
    metrics.jsonl, tensorboard/, pictures/, evaluations/

A file is written beside its place and renamed into it, so it is whole or the one before.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from adapt.networks import build
from adapt.networks.image_generator import Reconstructor, Translator
from adapt.networks.segmentor import Segmentor
from adapt.networks.translated import Translated
from roadshift import UserError, replacing

FORMAT = 2
"""2: a run can have a translator and a reconstructor."""
State = Mapping[str, nn.Module | Optimizer]


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """What run.json holds; `scores` are those of the evaluations made so far, by data spec."""

    format: int = FORMAT
    method: str
    network: str
    classes: tuple[str, ...]
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
    translator: dict[str, int] | None = None
    """width and blocks of F, where what is deployed is G(F(x))"""
    reconstructor: dict[str, int] | None = None
    """width and blocks of M, which draws label maps"""
    scores: dict[str, Any] = field(default_factory=dict)


class SavedRun(NamedTuple):
    """What a run learnt (float32, eval mode, on the CPU) and where it came from.

    `segmentor` is the whole deployed function, with the translator where there is one.
    """

    segmentor: Segmentor
    info: RunInfo
    reconstructor: Reconstructor | None = None


def read(run: Path, which: str = "last") -> SavedRun:
    """The segmentor of a run's `last` (or `best`) checkpoint.

    Raises UserError when `run` is no run folder, of a newer format, not saved yet, or when the
    checkpoint is damaged or another network's.
    """
    info = read_info(run)
    path = run / f"{which}.safetensors"
    if not path.is_file():
        raise UserError(
            f"{run} has no {path.name}: nothing was saved yet; let `roadshift adapt` reach "
            "its first checkpoint"
        )
    segmentor = build(info.network, len(info.classes))
    translator = Translator(**info.translator) if info.translator else None
    reconstructor = None
    if info.reconstructor:
        reconstructor = Reconstructor(len(info.classes), **info.reconstructor)
    parts = {"segmentor": segmentor, "translator": translator, "reconstructor": reconstructor}
    load(path, {name: part.eval() for name, part in parts.items() if part is not None})
    whole = Translated(translator, segmentor).eval() if translator else segmentor
    return SavedRun(whole, info, reconstructor)


def read_info(run: Path) -> RunInfo:
    """run.json of a run folder, with the scores of its evaluations."""
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
        raw |= {
            "classes": tuple(raw["classes"]),
            "palette": tuple((r, g, b) for r, g, b in raw["palette"]),
            "work_size": work and (work[0], work[1]),
            "scores": _scores(run),
        }
        return RunInfo(**raw)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}); start the run again") from error


def write_info(run: Path, info: RunInfo) -> None:
    """Write run.json."""
    plain = {f.name: getattr(info, f.name) for f in fields(info) if f.name != "scores"}
    with replacing(run / "run.json") as temporary:
        temporary.write_text(json.dumps(plain, indent=1))


def save(path: Path, state: State, step: int) -> None:
    """Everything in `state` after `step` steps, in one file, atomically."""
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {"format": FORMAT, "step": step, "optimizers": {}}
    for name, part in state.items():
        if isinstance(part, Optimizer):
            saved = part.state_dict()
            plain["optimizers"][name] = saved["param_groups"]
            for i, values in saved["state"].items():
                tensors |= {f"{name}.{i}.{k}": torch.as_tensor(v) for k, v in values.items()}
        else:
            tensors |= {f"{name}.{k}": v for k, v in part.state_dict().items()}
    whole = {k: v.detach().contiguous().clone() for k, v in tensors.items()}
    with replacing(path) as temporary:
        try:
            save_file(whole, temporary, {"roadshift": json.dumps(plain)})
        except SafetensorError as error:  # safetensors' word for what the disk refused
            raise OSError(str(error)) from error


def step_of(run: Path) -> int:
    """The step of a run folder's last checkpoint; 0 where there is none yet."""
    path = run / "last.safetensors"
    if not path.is_file():
        return 0
    with _opened(path) as (_, _, plain):
        return int(plain["step"])


def load(path: Path, state: State) -> int:
    """Put a saved state, or some parts of it, back in place; the step it was saved at."""
    with _opened(path) as (get, keys, plain):
        for name, part in state.items():
            found = {k.removeprefix(f"{name}."): k for k in keys if k.startswith(f"{name}.")}
            if isinstance(part, Optimizer):
                _load_optimizer(part, {k: get(v) for k, v in found.items()}, plain, name)
            else:
                _load_module(part, {k: get(v) for k, v in found.items()}, f"{path} ({name})")
        return int(plain["step"])


def fingerprint(checkpoint: Path) -> str:
    """SHA-256 of a file: what was made by a network goes out of date with it."""
    with checkpoint.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _load_module(module: nn.Module, found: dict[str, Tensor], where: str) -> None:
    wanted = module.state_dict()
    wrong = [k for k, v in wanted.items() if k not in found or found[k].shape != v.shape]
    wrong += [k for k in found if k not in wanted]
    if wrong:
        have = tuple(found[wrong[0]].shape) if wrong[0] in found else "missing"
        want = tuple(wanted[wrong[0]].shape) if wrong[0] in wanted else "nothing"
        raise UserError(
            f"{where} is of another network: {len(wrong)} of {len(wanted)} tensors differ, first "
            f"{wrong[0]} ({have} in the file, {want} in the network); use the run that wrote it"
        )
    module.load_state_dict(found)


def _load_optimizer(
    optimizer: Optimizer, found: dict[str, Tensor], plain: dict[str, Any], name: str
) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in found.items():
        i, _, what = key.partition(".")
        state.setdefault(int(i), {})[what] = value
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for i, values in state.items():
        for what, value in values.items():
            if value.shape == parameters[i].shape:  # in the parameter's own memory layout
                values[what] = torch.empty_like(parameters[i]).copy_(value)
    optimizer.load_state_dict({"state": state, "param_groups": plain["optimizers"][name]})


@contextlib.contextmanager
def _opened(path: Path) -> Generator[tuple[Callable[[str], Tensor], list[str], dict[str, Any]]]:
    try:
        with safe_open(path, framework="pt") as file:
            plain = json.loads((file.metadata() or {})["roadshift"])
            yield file.get_tensor, list(file.keys()), plain
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise UserError(
            f"{path} is damaged or not a roadshift checkpoint ({error}); delete it to start again"
        ) from error


def _scores(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in sorted((run / "evaluations").glob("*.json")):
        evaluation = json.loads(path.read_text())
        found[evaluation["data"]] = evaluation
    return found
