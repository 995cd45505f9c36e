from __future__ import annotations

import jaxtyping
import pytest
import torch

from adapt.networks import build
from adapt.networks.image_generator import Translator
from adapt.networks.segmentors.translated import Translated
from export.graph.segmentor import Deployed
from export.verification.inputs import Trial, sizes_to_check
from export.verification.reference import golden_frames
from export.verification.segmentor import Candidate, SegmentorSession, verify


@pytest.fixture
def unchecked_types():
    """While torch traces, sizes are symbols, which a type checker at run time takes for no ints."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("name", "translated"), [("pidnet_s", False), ("lraspp_mobilenet_v2", True)]
)
def test_it_is_exported_for_every_size(tiny, name, translated) -> None:
    torch.manual_seed(0)
    segmentor = build(name, len(tiny.classes))
    for p in segmentor.head_parameters():  # a head that starts at zero would prove nothing
        torch.nn.init.normal_(p, std=0.02)
    if translated:
        translator = Translator(8, 2)
        torch.nn.init.normal_(translator.generator.layers[-1].weight, std=0.5)
        segmentor = Translated(translator, segmentor)
    subject = tiny.subject(segmentor)
    sizes = sizes_to_check((45, 75), segmentor.min_size)
    graph = SegmentorSession(tiny.graph(Deployed(segmentor, None)))
    frames = tiny.frames()
    trial = Trial(frames=frames, sizes=sizes, golden=golden_frames(subject, frames, None))
    (result,) = verify(subject, [Candidate(precision="fp32", runner=graph)], trial)
    assert result.reasons == ()
    assert len(sizes) >= 3
