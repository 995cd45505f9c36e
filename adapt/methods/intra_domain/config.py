"""The settings of intra-domain adaptation: those of its stages in one, for the command."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from adapt import bounds
from adapt.methods.intra_domain import intra_domain
from adapt.methods.intra_domain.separating import Separation
from adapt.networks.output_discriminator import HALVINGS
from roadshift import UserError

RECIPES = Path(__file__).parent / "recipes"
"""The paper's tables, as ablations."""


@dataclass(frozen=True, kw_only=True)
class Config(intra_domain.Config, Separation):
    """The numbers of all stages, and which stages there are."""

    inter: str = ""
    """a finished run of any method as G_inter; "": the stage inter trains one"""
    inter_method: Literal["output_adversary", "source_only", "self_training"] = "output_adversary"
    """what the stage inter trains, by that method's own defaults (but self_training with a warm-up
    of a quarter, output_adversary with this width_d); else give a run to --inter"""
    inter_steps: int = 0
    """of the stage inter; 0: as many as of a round"""
    drawn_by: str = ""
    """a run of ldr or symmetric whose drawn source images (in the target's colours) inter learns"""
    start: Literal["inter", "weights"] = "inter"
    """what G of the first round begins from: G_inter, or the weights file"""
    rounds: int = 2
    """of G; each from what the one before finds easy; 0: G_inter alone, the tables' first row"""

    def __post_init__(self) -> None:
        bounds.at_least(int(bool(self.inter)), self, "rounds")
        bounds.at_least(0, self, "inter_steps", "beta", "beta_aux", "w_aux", "w_kld", "w_source")
        bounds.at_least(1, self, "width_d")
        bounds.shares(self, "alpha", "share")
        bounds.factors(self, "label_scales")
        if not 1 <= self.halvings_d <= HALVINGS:
            raise UserError(f"--halvings-d is {self.halvings_d}; wanted 1..{HALVINGS}")
        if self.inter and self.drawn_by:
            raise UserError("--drawn-by is for the stage inter: leave it out, or --inter")

    def part(self, kind: type[Any]) -> Any:
        """The numbers of one stage, `kind` being its config class."""
        return kind(**{f.name: getattr(self, f.name) for f in fields(kind)})
