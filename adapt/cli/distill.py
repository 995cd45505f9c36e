"""`roadshift distill`: a trained run into a smaller one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from cyclopts import Parameter

from adapt.methods.distillation.distillation import Config
from adapt.methods.distillation.stages import distill
from adapt.run import Run

T = TypeVar("T")
Flat = Annotated[T, Parameter(name="*")]
Fixed = Annotated[T, Parameter(parse=False)]


@dataclass(frozen=True, kw_only=True)
class StudentRun(Run):
    """A run whose source, classes and labels are its teacher's affair."""

    source: Fixed[str] = ""
    target: str = ""
    """images without labels; "" for the target that the teacher was trained on"""
    classes: Fixed[str] = ""
    network: Annotated[str, Parameter(name="--student")] = "pidnet_s"
    """the network to train"""
    batch: int = 8
    """images per step, over all devices"""
    crop: str = ""
    """what the networks see in training; "" for the whole image"""
    optimizer: Literal["sgd", "adam", "adamw"] | None = None
    """the student's; left out: that of the network's own recipe"""
    source_size: Fixed[str] = ""
    size: str = ""
    """images are resized to this, in training and when deployed; "" for the teacher's size"""
    select_on: Fixed[str] = ""
    map: Fixed[str] = ""
    sample_rare: Fixed[bool] = False
    style: Fixed[Literal["", "statistics", "fourier"]] = ""
    style_space: Fixed[Literal["lab", "rgb"]] = "lab"
    style_share: Fixed[float] = 0.5
    style_beta: Fixed[float] = 0.01


def distill_run(teacher: Path, run: Flat[StudentRun], config: Flat[Config] = Config()) -> None:
    """Train a student network on unlabelled images to answer as a trained run does.

    The vehicle then pays for the student alone, whatever the run needed: a translator, a large
    network. The result is a run folder like any other.

    Parameters
    ----------
    teacher
        the run folder to learn from
    """
    if distill(teacher, config, run):
        print(f"trained: {run.out}")
        print(f"next: roadshift compare {teacher} {run.out} --data SPEC --out FOLDER")
        print(f"      roadshift export {run.out} --out BUNDLE")
