"""The settings of label-driven reconstruction: those of its stages in one, for the command."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from adapt.methods.ldr import joint, translation
from roadshift import UserError

RECIPES = Path(__file__).parent / "recipes"
"""The paper's tables, as ablations."""


@dataclass(frozen=True, kw_only=True)
class Config(translation.Config, joint.Config):
    """The numbers of all stages, and which stages there are."""

    direction: Literal["target_to_source", "source_to_target"] = "target_to_source"
    """which city's images are translated (Table 3)"""
    reconstruct: bool = True
    """False: Eq. 1 alone, no M (Table 3)"""
    rounds: int = 2
    """of the joint stage; from the second on with pseudo labels"""
    max_threshold: float = 0.9
    """a pseudo label needs its class's median confidence, or this where that is higher"""

    def __post_init__(self) -> None:
        steps = ("translate_steps", "translate_batch", "pretrain_steps")
        for name in ("width", "blocks", "rounds", *steps):
            if getattr(self, name) < 1:
                flag = name.replace("_", "-")
                raise UserError(f"--{flag} is {getattr(self, name)}; it must be at least 1")
        for name in ("alpha", "beta", "w_adv", "history"):
            if getattr(self, name) < 0:
                flag = name.replace("_", "-")
                raise UserError(f"--{flag} is {getattr(self, name)}; wanted 0 or more")
        if self.tau <= 0:
            raise UserError(f"--tau is {self.tau}; a temperature must be above 0")

    def part(self, kind: type[Any]) -> Any:
        """The numbers of one stage, `kind` being its config class."""
        return kind(**{f.name: getattr(self, f.name) for f in fields(kind)})
