"""The order of the stages."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from adapt.methods.ldr.pretrain import pretrain
from adapt.methods.ldr.reconstruction import Config
from adapt.methods.ldr.rounds import joint, pseudo_labels
from adapt.methods.ldr.translate import translate
from adapt.run import Run
from adapt.stages.claim import claim
from adapt.stages.runner import Road, open_road
from roadshift import unknown


def stages(config: Config) -> dict[str, Callable[[Road], None]]:
    """The stages of a run by their names, in their order."""
    found: dict[str, Callable[[Road], None]] = {"translate": translate}
    if config.reconstruct:
        found["pretrain"] = pretrain
    for r in range(config.rounds):
        if r:
            found[f"pseudo_labels{r}"] = partial(pseudo_labels, r=r)
        found[f"joint{r}"] = partial(joint, r=r)
    return found


def train_ldr(config: Config, run: Run, *, stage: str = "", shared: Path | None = None) -> bool:
    """Run the stages that are missing, or the one called `stage`; whether this is process 0.

    Raises UserError for settings or data that do not fit, an unknown stage, or one whose
    predecessors are not done; Failure when training breaks or is stopped.
    """
    chosen = stages(config)
    if stage and stage not in chosen:
        raise unknown("stage", stage, chosen)
    road = open_road(config, run, shared)
    claim(run.out, road.info)
    road.fabric.launch()
    for name, work in chosen.items():
        if stage in ("", name):
            work(road)
    return road.first
