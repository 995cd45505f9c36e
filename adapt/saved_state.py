"""The format of *.safetensors: networks and optimizers after a step, in one file.

Each tensor goes by the part's name and its own, e.g. `segmentor.backbone.0.weight`; the numbers of
the optimizers' groups and the step are JSON in the header. A file is written beside its place and
renamed into it, so it is whole or the one before.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from roadshift import UserError, replacing

FORMAT = 2
"""Of this file; run.json has its own."""
State = Mapping[str, nn.Module | Optimizer]


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


def kept_at(run: Path, step: int) -> Path:
    """Where --keep-every keeps the networks of a step, without their optimizers."""
    return run / f"step_{step:06d}.safetensors"


def kept_steps(run: Path) -> list[int]:
    """The steps whose networks a run folder has, in their order."""
    return sorted(int(p.stem.removeprefix("step_")) for p in run.glob("step_*.safetensors"))


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
