"""A segmentor of one run and a reconstructor of another in one bundle."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from adapt import checkpoint, saved_state
from adapt.networks.image_generator import Reconstructor
from export.graph.joined_reconstructor import joined
from export.graph.reconstructor import of_run
from roadshift import UserError

KNOWN = ("sky", "fence", "road", "car")
SMALL = {"width": 4, "blocks": 1}


@pytest.fixture
def pretrained(tiny, tmp_path):
    """The folder of a run of ldr whose stage pretrain has saved, and its M."""
    torch.manual_seed(0)
    M = Reconstructor(len(KNOWN), **SMALL)
    for p in M.parameters():
        if p.ndim > 1:
            torch.nn.init.normal_(p, std=0.1)
    info = tiny.saved(tiny.Centres(), (40, 64)).info
    info = replace(info, method="ldr pretrain", classes=KNOWN, settings=SMALL)
    checkpoint.write_info(tmp_path / "ldr/pretrain", info)
    saved_state.save(tmp_path / "ldr/pretrain/last.safetensors", {"M": M, "D_k": M}, 9)
    return tmp_path / "ldr", M.eval()


def test_classes_are_matched_by_name_and_the_size_is_its_own(tiny, pretrained) -> None:
    run, M = pretrained
    saved = joined(tiny.saved(tiny.Centres(), (24, 40)), run)
    one = of_run(saved)
    assert one is not None
    labels = np.random.default_rng(0).integers(0, 4, (2, 40, 64)).astype(np.uint8)
    labels[labels == 3] = 255
    theirs = torch.tensor([KNOWN.index(name) for name in tiny.classes] + [255])
    y = theirs[torch.from_numpy(labels).long().clamp(max=3)]
    omega = (y[:, None] == torch.arange(4)[:, None, None]).float()
    with torch.inference_mode():
        wanted = (M(omega) * 255).round().permute(0, 2, 3, 1).numpy()
    assert np.abs(one(labels) - wanted).max() <= 1
    assert wanted.std() > 1
    part = saved.info.parts["reconstructor"]
    assert (part["classes"], part["steps"], part["source"]) == (3, 9, "toytown:game")


def test_a_finished_run_gives_its_own(tiny, pretrained) -> None:
    run, M = pretrained
    info = checkpoint.read_info(run / "pretrain")
    part = {"kind": "reconstructor", "classes": len(KNOWN), **SMALL}
    segmentor = {"kind": "lraspp_mobilenet_v2", "classes": len(KNOWN)}
    parts = {"segmentor": segmentor, "reconstructor": part}
    checkpoint.write_info(run, replace(info, method="ldr", parts=parts))
    better = {name: checkpoint.build_part(of) for name, of in parts.items()}
    saved_state.save(run / "last.safetensors", better, 20)
    saved = joined(tiny.saved(tiny.Centres()), run)
    weights = better["reconstructor"].generator.layers[-1].weight
    assert torch.equal(saved.reconstructor.generator.layers[-1].weight, weights)
    assert not torch.equal(weights, M.generator.layers[-1].weight)


def test_what_does_not_fit(tiny, pretrained) -> None:
    run, _ = pretrained
    saved = tiny.saved(tiny.Centres())
    more = saved._replace(info=replace(saved.info, classes=("road", "car", "pole")))
    with pytest.raises(UserError, match="does not know pole: train one on a source with road, car"):
        joined(more, run)
    info = checkpoint.read_info(run / "pretrain")
    parts = {"segmentor": {"kind": "lraspp_mobilenet_v2", "classes": len(KNOWN)}}
    checkpoint.write_info(run, replace(info, method="source_only", parts=parts))
    networks = {name: checkpoint.build_part(of) for name, of in parts.items()}
    saved_state.save(run / "last.safetensors", networks, 20)
    with pytest.raises(UserError, match=r"source_only\) has no reconstructor: give a run of"):
        joined(saved, run)
    with pytest.raises(UserError, match="is not a run folder"):
        joined(saved, run / "nothing")
