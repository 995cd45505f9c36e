"""The settings of symmetric adaptation: those of its stages in one, for the command."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from adapt import bounds
from adapt.data.drawing.class_mix import mix_needs_labels
from adapt.methods.symmetric import star_translation, symmetric
from adapt.methods.symmetric.consistency import Consistency
from adapt.networks.star_discriminator import DOWNS
from adapt.run import parse_size
from roadshift import UserError

LEAST_CROP = 2**DOWNS
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
    label_scales: tuple[float, ...] = (1.0,)
    """of --size: A and B look at a target image at each of these to label it"""
    label_flip: bool = False
    """also mirrored"""
    deploy: Literal["fusion", "A", "B"] = "fusion"
    """the mean of both probability maps, or one of the two"""

    def __post_init__(self) -> None:
        bounds.at_least(1, self, "width", "width_d", "blocks", "rounds")
        bounds.at_least(1, self, "translate_steps", "translate_batch")
        bounds.above_zero(self, "translate_lr", "lr_d")
        bounds.shares(self, "max_threshold")
        mix_needs_labels(self.mix, self.rounds)
        bounds.factors(self, "label_scales")
        crop = parse_size(self.translate_crop, "translate-crop")
        if crop and min(crop) < LEAST_CROP:
            raise UserError(
                f"--translate-crop {self.translate_crop} is too small for StarGAN's discriminator; "
                f"wanted {LEAST_CROP} pixels or more a side"
            )

    def part(self, kind: type[Any]) -> Any:
        """The numbers of one stage, `kind` being its config class."""
        return kind(**{f.name: getattr(self, f.name) for f in fields(kind)})
