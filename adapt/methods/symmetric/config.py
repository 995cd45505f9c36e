"""The settings of symmetric adaptation: those of its stages in one, for the command."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from adapt.methods.symmetric import star_translation, symmetric
from adapt.methods.symmetric.consistency import Consistency
from roadshift import UserError

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True, kw_only=True)
class Config(star_translation.Config, symmetric.Config):
    """The numbers of all stages, and which stages there are."""

    translate: bool = True
    """False: both learn from the source's images as they are"""
    rounds: int = 2
    """of A and B; from the second on with pseudo labels"""
    consistency: Consistency = "jensen_shannon"
    """how far A and B agree on a pixel, M_consist; none: M_total is the probability alone"""
    max_threshold: float = 0.9
    """a pseudo label needs its class's median M_total, or this where that is higher"""
    deploy: Literal["fusion", "A", "B"] = "fusion"
    """the mean of both probability maps, or one of the two"""

    def __post_init__(self) -> None:
        for name in ("width", "width_d", "blocks", "rounds", "translate_steps"):
            if getattr(self, name) < 1:
                flag = name.replace("_", "-")
                raise UserError(f"--{flag} is {getattr(self, name)}; it must be at least 1")
        if not 0 <= self.max_threshold <= 1:
            raise UserError(f"--max-threshold is {self.max_threshold}; wanted 0..1")

    def part(self, kind: type[Any]) -> Any:
        """The numbers of one stage, `kind` being its config class."""
        return kind(**{f.name: getattr(self, f.name) for f in fields(kind)})
