"""How well usual frames are explained by their labels: what a device's self-check is held to."""

from __future__ import annotations

from typing import Any

import numpy as np

from export.bundle import Bundle
from export.bundle.graphs import RECONSTRUCTOR
from export.frames import Frames
from serve.models.self_check.self_check import other_drawings, rest
from serve.models.self_check.structure import small, unexplained
from serve.runtime.engine import Engine
from serve.runtime.image_graphs import image_graph_of


def usual_scores(bundle: Bundle, frames: Frames) -> dict[str, Any]:
    """For the bundle's checks: {"self_check": number of frames, mean and std of their `rest`}.

    Empty without a reconstructor. Segmented and drawn as a server does, in fp32 on the CPU. The
    golden frames are not among them, unless there are no others: they are what is compared with.
    """
    reconstructor = image_graph_of(bundle, RECONSTRUCTOR)
    if reconstructor is None:
        return {}
    engine, others = Engine(bundle), other_drawings(bundle)
    images = (small(golden.image) for golden in bundle.golden())
    golden = {image.tobytes() for image in images}
    scores: dict[bool, list[float]] = {True: [], False: []}
    for i in range(frames.count):
        image = frames.read(i).image
        drawn = reconstructor.draw(engine.segment(image[None]).labels)[0]
        score = rest(image, unexplained(image, drawn), others)
        scores[small(image).tobytes() in golden].append(score)
    chosen = scores[False] or scores[True]
    usual = {"frames": len(chosen), "mean": float(np.mean(chosen)), "std": float(np.std(chosen))}
    return {"self_check": usual}
