"""The settings of intra-domain adaptation: those of its stages in one, for the command."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

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
    """what the stage inter trains, by that method's own defaults; else give a run to --inter"""
    inter_steps: int = 0
    """of the stage inter; 0: as many as of a round"""
    drawn_by: str = ""
    """a run of ldr or symmetric whose drawn source images (in the target's colours) inter learns"""
    start: Literal["inter", "weights"] = "inter"
    """what G of the first round begins from: G_inter, or the weights file"""
    rounds: int = 2
    """of G; each from what the one before finds easy; 0: G_inter alone, the tables' first row"""

    def __post_init__(self) -> None:
        if self.rounds < bool(self.inter) or self.inter_steps < 0 or self.width_d < 1:
            raise UserError(
                f"--rounds {self.rounds}, --inter-steps {self.inter_steps}, --width-d "
                f"{self.width_d}: wanted at least 0 (with --inter 1), 0 and 1"
            )
        if not 1 <= self.halvings_d <= HALVINGS:
            raise UserError(f"--halvings-d is {self.halvings_d}; wanted 1..{HALVINGS}")
        if not self.label_scales or min(self.label_scales) <= 0:
            raise UserError(f"--label-scales {self.label_scales}: wanted factors above 0")
        for name in ("alpha", "share"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"--{name} is {getattr(self, name)}; wanted 0..1")
        for name in ("beta", "beta_aux", "w_aux", "w_kld", "w_source"):
            if (getattr(self, name) or 0) < 0:
                flag = name.replace("_", "-")
                raise UserError(f"--{flag} is {getattr(self, name)}; wanted 0 or more")
        if self.inter and self.drawn_by:
            raise UserError("--drawn-by is for the stage inter: leave it out, or --inter")

    def part(self, kind: type[Any]) -> Any:
        """The numbers of one stage, `kind` being its config class."""
        return kind(**{f.name: getattr(self, f.name) for f in fields(kind)})
