"""The settings of label-driven reconstruction: those of its stages in one, for the command."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from adapt import bounds
from adapt.data.drawing.class_mix import mix_needs_labels
from adapt.methods.ldr import joint, translation

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
        bounds.at_least(1, self, "width", "blocks", "rounds")
        bounds.at_least(1, self, "translate_steps", "translate_batch", "pretrain_steps")
        bounds.at_least(0, self, "alpha", "beta", "w_adv", "history")
        bounds.above_zero(self, "tau")
        mix_needs_labels(self.mix, self.rounds)

    def part(self, kind: type[Any]) -> Any:
        """The numbers of one stage, `kind` being its config class."""
        return kind(**{f.name: getattr(self, f.name) for f in fields(kind)})
