"""What a method of several stages leaves in the run folder itself: the networks to deploy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import nn

from adapt import checkpoint, saved_state
from adapt.checkpoint import RunInfo
from adapt.networks import Part
from adapt.run import Run


def publish(
    info: RunInfo, run: Run, parts: Mapping[str, tuple[Part, nn.Module]], step: int
) -> None:
    """Write run.json and last.safetensors of `run.out`: each part by its role, as it is now.

    Unless a later step's lie there: an early stage that is asked for again has nothing new to say.
    """
    if saved_state.step_of(run.out) > step:
        return
    described = {role: part for role, (part, _) in parts.items()}
    checkpoint.write_info(run.out, replace(info, parts=described))
    networks = {role: network for role, (_, network) in parts.items()}
    saved_state.save(run.out / "last.safetensors", networks, step)
