"""The reconstructor of another run, for a segmentor that was trained without one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, cast

from torch import nn

from adapt import checkpoint, saved_state
from adapt.checkpoint import SavedRun
from adapt.networks import Part, build_part
from adapt.networks.image_generator import Reconstructor
from roadshift import UserError

_PRETRAIN = "pretrain"


class _Found(NamedTuple):
    network: Reconstructor
    part: Part
    info: checkpoint.RunInfo


def joined(saved: SavedRun, run: Path) -> SavedRun:
    """`saved` with the reconstructor of `run`: a finished one of ldr, or one whose stage `pretrain`
    has saved. Classes are matched by name, and it draws at the size it was trained at.

    Raises UserError when `run` has no reconstructor, or one that does not know all classes.
    """
    network, part, info = _reconstructor(run)
    wanted = saved.info.classes
    if missing := [name for name in wanted if name not in info.classes]:
        raise UserError(
            f"the reconstructor of {run} does not know {', '.join(missing)}: train one on a source "
            f"with {', '.join(wanted)} (roadshift adapt ldr --stage pretrain --classes ...)"
        )
    first = network.generator.layers[0]
    assert isinstance(first, nn.Conv2d)
    chosen = [info.classes.index(name) for name in wanted]
    first.weight = nn.Parameter(first.weight.detach()[:, chosen].clone())
    first.in_channels = network.classes = len(wanted)
    about = {"source": info.source, "fingerprints": info.fingerprints, "work_size": info.work_size}
    parts = saved.info.parts | {"reconstructor": {**part, "classes": len(wanted), **about}}
    return saved._replace(info=replace(saved.info, parts=parts), reconstructor=network)


def _reconstructor(run: Path) -> _Found:
    """Of the finished run, or of its stage; in eval mode."""
    stage = run / _PRETRAIN
    if (run / "last.safetensors").is_file() or not stage.is_dir():
        saved = checkpoint.read(run)
        if saved.reconstructor is None:
            raise UserError(
                f"{run} ({saved.info.method}) has no reconstructor: give a run of `roadshift adapt "
                f"ldr`, with --stage {_PRETRAIN} at least"
            )
        return _Found(saved.reconstructor, saved.info.parts["reconstructor"], saved.info)
    info = checkpoint.read_info(stage)
    shape = {name: info.settings[name] for name in ("width", "blocks")}
    part = {"kind": "reconstructor", "classes": len(info.classes), **shape}
    network = cast(Reconstructor, build_part(part).eval())
    steps = saved_state.load(stage / "last.safetensors", {"M": network})
    return _Found(network, part | {"steps": steps}, info)
