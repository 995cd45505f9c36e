"""The run of feature-to-image adaptation: one stage."""

from __future__ import annotations

from pathlib import Path

from adapt.methods.feature_to_image.feature_to_image import (
    Config,
    FeatureAdversary,
    FeatureToImage,
)
from adapt.methods.feature_to_image.pictures import picture
from adapt.run import Run
from adapt.stages.train import train

RECIPES = Path(__file__).parent / "recipes"
"""The paper's tables, as ablations."""


def train_feature_to_image(config: Config, run: Run, *, shared: Path | None = None) -> bool:  # noqa: ARG001
    """Train into `run.out`; whether this is process 0. Of one stage, rows have nothing to share.

    Raises UserError for settings or data that do not fit, Failure when training breaks.
    """
    if config.space == "feature":
        return train("feature_to_image", FeatureAdversary, config, run)
    return train("feature_to_image", FeatureToImage, config, run, picture=picture)
