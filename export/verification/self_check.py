"""How well usual frames are explained by their labels: what a device's self-check is held to."""

from __future__ import annotations

from typing import Any

import numpy as np

from export.bundle import Bundle
from export.bundle.graphs import RECONSTRUCTOR
from export.frames import Frames
from serve.models.self_check.structure import unexplained
from serve.runtime.engine import Engine
from serve.runtime.image_graphs import image_graph_of


def usual_scores(bundle: Bundle, frames: Frames) -> dict[str, Any]:
    """For the bundle's checks: {"self_check": number of frames, mean and std of their scores}.

    Empty without a reconstructor. Segmented and drawn as a server does, in fp32 on the CPU.
    """
    reconstructor = image_graph_of(bundle, RECONSTRUCTOR)
    if reconstructor is None:
        return {}
    engine = Engine(bundle)
    scores: list[float] = []
    for i in range(frames.count):
        image = frames.read(i).image
        drawn = reconstructor.draw(engine.segment(image[None]).labels)[0]
        scores.append(float(unexplained(image, drawn).mean()))
    usual = {"frames": len(scores), "mean": float(np.mean(scores)), "std": float(np.std(scores))}
    return {"self_check": usual}
