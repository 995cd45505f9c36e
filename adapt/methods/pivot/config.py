"""The settings of pivot interaction transfer: those of its stages in one, for the command."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import (
    Any,
    Literal,  # noqa: F401 # pyright: ignore[reportUnusedImport] - inherited types are looked up here
)

from adapt.methods.pivot import pivot
from adapt.methods.pivot.features import FeaturesConfig
from adapt.methods.pivot.image_classifier import ClassifierConfig
from roadshift import UserError

RECIPES = Path(__file__).parent / "recipes"
"""The paper's tables, as ablations."""


@dataclass(frozen=True, kw_only=True)
class Config(pivot.Config, ClassifierConfig, FeaturesConfig):
    """The numbers of all stages, and where the target's image-level labels come from."""

    features: str = ""
    """a folder features/ that an earlier run left, in place of computing them"""
    image_labels: str = ""
    """a JSON or CSV file of the target's image-level labels, in place of the classifier's: shares,
    or presence (weakly supervised, as the document's WDA)"""

    def __post_init__(self) -> None:
        pivot.Config.__post_init__(self)
        ClassifierConfig.__post_init__(self)
        if self.features and self.image_labels:
            raise UserError("--features is for the classifier: leave it out, or --image-labels")

    def part(self, kind: type[Any]) -> Any:
        """The numbers of one stage, `kind` being its config class."""
        return kind(**{f.name: getattr(self, f.name) for f in fields(kind)})
