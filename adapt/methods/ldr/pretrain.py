"""The stage pretrain: M learns to draw source images from their true labels."""

from __future__ import annotations

import logging
from dataclasses import replace

from adapt.data.batches import make_draws
from adapt.methods.ldr import pictures
from adapt.methods.ldr.reconstruction import Pretraining
from adapt.stages.runner import Road

log = logging.getLogger(__name__)


def pretrain(road: Road) -> None:
    """Train M and D_1..D_3 on the source alone."""
    config, source = road.config, road.cities.source
    if config.perceptual != "none" and config.w_perceptual and not config.perceptual_weights:
        log.warning(
            "no ImageNet weights for %s: the perceptual term of Eq. 5 is off; turn it on with "
            "--perceptual-weights FILE (--perceptual mobilenet_v2 takes that network's)",
            config.perceptual,
        )
    run = replace(road.run, colour_jitter=0.0, blur=0.0)
    road.fit(
        "pretrain",
        run,
        make=lambda: Pretraining(config, road.classes),
        draws=lambda: make_draws(run, source, None),
        begin=lambda _: None,
        picture=lambda method: pictures.drawing(
            method.rebuild.M, source, road.source_size, source.palette
        ),
    )
