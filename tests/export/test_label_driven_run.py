"""A run of label-driven reconstruction: translator and segmentor in one graph, M in another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from adapt import checkpoint, saved_state
from adapt.networks import SEGMENTORS
from adapt.networks.image_generator import Translator
from adapt.networks.segmentors.translated import Translated
from export.bundle import Bundle, read_bundle
from export.bundle.graphs import RECONSTRUCTOR
from export.cli.export import export
from export.frames import Frame, Frames
from export.verification.self_check import usual_scores
from serve.models.self_check.self_check import other_drawings, rest, self_check_of
from serve.models.self_check.structure import unexplained


@pytest.fixture(scope="module", params=[None, (64, 96)], ids=["any size", "works at 64x96"])
def road(request, tiny, tmp_path_factory) -> Iterator[tuple[checkpoint.SavedRun, Bundle]]:
    """A run as the training writes it, with weights that nobody trained, read, and its bundle."""
    root = tmp_path_factory.mktemp("ldr")
    torch.manual_seed(0)
    translator = Translator(4, 1)
    nn.init.normal_(translator.generator.layers[-1].weight, std=0.5)  # else nearly the identity
    reconstructor = tiny.reconstructor()
    parts = {"segmentor": tiny.Centres(), "translator": translator, "reconstructor": reconstructor}
    small = {"width": 4, "blocks": 1}
    info = tiny.saved(tiny.Centres(), request.param).info
    described = {
        "segmentor": {"kind": "tiny", "classes": len(info.classes)},
        "translator": {"kind": "translator", **small},
        "reconstructor": {"kind": "reconstructor", "classes": len(info.classes), **small},
    }
    info = replace(info, method="ldr", parts=described)
    checkpoint.write_info(root / "run", info)
    saved_state.save(root / "run/last.safetensors", parts, 7)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SEGMENTORS, "tiny", lambda **_: tiny.Centres())
        export(root / "run", out=root / "bundle", count=2)
        yield checkpoint.read(root / "run"), read_bundle(root / "bundle")


def test_both_graphs_are_verified_at_several_sizes(road) -> None:
    _, bundle = road
    assert bundle.checks["precisions"]["fp32"]["passed"]
    assert bundle.checks["translator"]["passed"]
    assert bundle.checks["reconstructor"]["passed"]
    sizes = bundle.checks["precisions"]["fp32"]["sizes"]
    assert len(sizes) == len(bundle.checks["translator"]["sizes"])
    assert len(sizes) == len(bundle.checks["reconstructor"]["sizes"]) >= 3
    assert bundle.provenance["translator"] == {"kind": "translator", "width": 4, "blocks": 1}
    assert "translates them into the source's colours" in bundle.path("report.md").read_text()


def test_what_usual_frames_leave_unexplained_is_measured(road) -> None:
    """Of two frames, which are golden both."""
    _, bundle = road
    usual, others = bundle.checks["self_check"], other_drawings(bundle)
    pairs = zip(bundle.golden()[:2], bundle.golden_drawn(RECONSTRUCTOR), strict=False)
    found = [rest(g.image, unexplained(g.image, d.image), others) for g, d in pairs]
    assert usual["frames"] == 2
    assert usual["mean"] == pytest.approx(np.mean(found), rel=0.05)
    assert usual["std"] == pytest.approx(np.std(found), rel=0.2)
    assert self_check_of(bundle) is not None


def test_golden_frames_are_no_usual_frames_where_there_are_others(road) -> None:
    """A frame's own drawing would be among those of other frames."""
    _, bundle = road
    golden = [one.image for one in bundle.golden()]
    more = [image[::-1].copy() for image in golden[:3]]
    images = [golden[0], *more, golden[1]]
    found = usual_scores(bundle, Frames("some", 5, lambda i: Frame(images[i], None), False))
    assert found == usual_scores(bundle, Frames("more", 3, lambda i: Frame(more[i], None), False))
    assert found["self_check"]["frames"] == 3


def test_the_segmentor_is_the_whole_deployed_function(road) -> None:
    (segmentor, info, reconstructor), bundle = road
    assert isinstance(segmentor, Translated)
    assert reconstructor is not None
    session = onnxruntime.InferenceSession(bundle.path("segmentor.onnx"))
    image, labels, *_ = bundle.golden()[0]
    assert len(np.unique(labels)) > 1
    (found,) = session.run(["labels"], {"image": image[None]})
    assert (found[0] == labels).mean() > 0.999
    x = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
    if info.work_size:
        x = nn.functional.interpolate(x, info.work_size, mode="bilinear")
    with torch.inference_mode():
        logits = segmentor.segmentor(segmentor.translator(x)).logits
        full = nn.functional.interpolate(
            logits, image.shape[:2], mode="bilinear", align_corners=segmentor.align_corners
        )
        untranslated = segmentor.segmentor(x).logits
    assert (full.argmax(1)[0].numpy() == labels).mean() > 0.999
    assert (logits.argmax(1) != untranslated.argmax(1)).float().mean() > 0.01
