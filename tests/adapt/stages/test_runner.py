"""The stage runner: identities, sharing, what is skipped, and drawings that were killed."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning.fabric import Fabric
from tiny_city import TINY_CLASSES

from adapt import checkpoint, saved_state
from adapt.checkpoint import RunInfo
from adapt.data.classes import palette_of
from adapt.data.datasets import unlabelled
from adapt.networks import build
from adapt.networks.image_generator import Reconstructor, Translator
from adapt.networks.segmentors.translated import Translated
from adapt.run import Run
from adapt.stages.claim import claim
from adapt.stages.made import begin_making, is_made, mark_made
from adapt.stages.runner import Making, Stages
from adapt.stages.translated_images import Drawing, translated_images
from roadshift import UserError

INFO = RunInfo(
    method="test", network="none", classes=TINY_CLASSES, palette=palette_of(TINY_CLASSES),
    source="", target="", work_size=None, commit="", steps=1, seed=0, settings={},
    fingerprints={}, versions={},
)  # fmt: skip


def making(name: str, make: Callable[[Path], Mapping[str, object]], **more: object) -> Making:
    return Making(name=name, make=make, **{"settings": {}, "needs": (), **more})


def stages(out: Path, *found: Making, shared: Path | None = None) -> Stages:
    run = Run(source="", target="", out=out)
    return Stages(INFO, run, Fabric(accelerator="cpu", devices=1), found, shared)


def test_a_stage_is_made_once_and_again_when_its_settings_change(tmp_path: Path) -> None:
    made: list[str] = []

    def make(folder: Path) -> Mapping[str, object]:
        made.append(folder.name)
        return {"found": 3}

    for settings in ({"a": 1}, {"a": 1}, {"a": 2}):
        assert stages(tmp_path, making("maps", make, settings=settings)).run()
    assert made == ["maps", "maps"]
    assert json.loads((tmp_path / "maps/made.json").read_text())["found"] == 3


def test_what_needs_a_stage_has_another_identity_when_that_has(tmp_path: Path) -> None:
    def identity(a: int) -> str:
        first = making("first", lambda _: {}, settings={"a": a})
        second = making("second", lambda _: {}, needs=("first",))
        return stages(tmp_path, first, second).identity("second")

    assert identity(1) == identity(1) != identity(2)


def test_runs_share_what_is_to_be_shared_and_equal(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(folder: Path) -> Mapping[str, object]:
        made.append(folder)
        return {}

    for row, a in (("one", 1), ("two", 1), ("three", 2)):
        first = making("first", make, shared=True, settings={"a": a})
        inside = making("first/inside", make, needs=("first",), shared=True)
        own = making("own", make, needs=("first/inside",))
        stages(tmp_path / row, first, inside, own, shared=tmp_path / "shared").run()
    names = [p.relative_to(tmp_path).as_posix() for p in made]
    assert [n for n in names if n.endswith("own")] == ["one/own", "two/own", "three/own"]
    assert len([n for n in names if n.endswith("inside")]) == 2
    assert len(list((tmp_path / "shared").iterdir())) == 2


def test_a_stage_whose_predecessor_is_missing_names_it_and_the_command(tmp_path: Path) -> None:
    first = making("first", lambda _: {})
    second = making("second", lambda _: {}, needs=("first",))
    with pytest.raises(UserError, match=r"the stage first is not done .* with --stage first"):
        stages(tmp_path, first, second).run("second")
    with pytest.raises(UserError, match="unknown stage 'thrid': did you mean 'third'"):
        stages(tmp_path, first, making("third", lambda _: {})).run("thrid")


def test_a_killed_drawing_goes_on_where_it_was(
    tiny_target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    F = Translator(4, 1).eval()
    drawn: list[int] = []

    class Counted(Translator):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            drawn.append(1)
            if len(drawn) == 4:
                raise KeyboardInterrupt
            return F(x)

    drawing = Drawing(translator=lambda: Counted(4, 1), images=unlabelled(tiny_target), size=None)
    stage = translated_images("drawn", drawing, needs=(), shared=False)
    with pytest.raises(KeyboardInterrupt):
        stages(tmp_path / "run", stage).run()
    images = tmp_path / "run/drawn/images"
    before = {p: p.stat().st_mtime_ns for p in images.iterdir()}
    assert len(before) == 3
    stages(tmp_path / "run", stage).run()
    assert len(drawn) == 4 + 5
    assert {p: p.stat().st_mtime_ns for p in before} == before
    # Begun with other settings, nothing is kept.
    stages(tmp_path / "run", replace(stage, settings={"a": 1})).run()
    assert len(drawn) == 4 + 5 + 8


def test_what_was_begun_otherwise_is_thrown_away(tmp_path: Path) -> None:
    folder = tmp_path / "labels"
    begin_making(folder, "weights a", "settings")
    (folder / "0.png").write_bytes(b"half")
    begin_making(folder, "weights a", "settings")
    assert (folder / "0.png").is_file()
    begin_making(folder, "weights b", "settings")
    assert not (folder / "0.png").exists()
    mark_made(folder, "weights b", "settings", {})
    assert is_made(folder, "weights b", "settings")
    assert not is_made(folder, "weights a", "settings")
    assert not is_made(folder, "weights b", "others")


def test_a_stage_of_format_2_counts_as_made(tmp_path: Path) -> None:
    """It names its checkpoint alone: what else decided it stands in its run.json."""
    (tmp_path / "made.json").write_text(json.dumps({"made_by": "weights", "thresholds": {}}))
    assert is_made(tmp_path, "weights", "any")
    assert not is_made(tmp_path, "others", "any")


def test_a_run_of_format_2_is_read(tmp_path: Path) -> None:
    """A translator and a reconstructor were fields of their own then."""
    small = {"width": 4, "blocks": 1}
    G, F, M = build("lraspp_mobilenet_v2", 4), Translator(**small), Reconstructor(4, **small)
    checkpoint.write_info(tmp_path, replace(INFO, network="lraspp_mobilenet_v2"))
    saved_state.save(
        tmp_path / "last.safetensors", {"segmentor": G, "translator": F, "reconstructor": M}, 1
    )
    raw = json.loads((tmp_path / "run.json").read_text())
    del raw["parts"]
    raw |= {"format": 2, "translator": small, "reconstructor": small}
    (tmp_path / "run.json").write_text(json.dumps(raw))
    found = checkpoint.read(tmp_path)
    assert isinstance(found.segmentor, Translated)
    assert found.reconstructor is not None
    kept = found.segmentor.segmentor.state_dict()
    assert all(torch.equal(kept[name], value) for name, value in G.state_dict().items())
    shutil.copytree(tmp_path, tmp_path.parent / "bare")
    bare = tmp_path.parent / "bare"
    raw |= {"translator": None, "reconstructor": None}
    (bare / "run.json").write_text(json.dumps(raw))
    assert not isinstance(checkpoint.read(bare).segmentor, Translated)


def test_a_newer_format_says_what_to_do(tmp_path: Path) -> None:
    checkpoint.write_info(tmp_path, INFO)
    raw = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(raw | {"format": 99}))
    with pytest.raises(UserError, match="has format 99, this roadshift reads up to 3; upgrade"):
        checkpoint.read(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps(raw | {"parts": {"segmentor": {"kind": "net"}}}))
    saved_state.save(tmp_path / "last.safetensors", {}, 1)
    with pytest.raises(UserError, match="unknown kind of network 'net'"):
        checkpoint.read(tmp_path)


def test_a_run_that_did_not_know_a_setting_is_resumed_with_its_default(tmp_path: Path) -> None:
    old = replace(INFO, settings={"lr": 0.1})
    checkpoint.write_info(tmp_path, old)
    saved_state.save(tmp_path / "last.safetensors", {}, 1)
    claim(tmp_path, replace(old, settings={"lr": 0.1, "sample_rare": False}))
    claim(tmp_path, replace(old, settings={"lr": 0.1, "needs": {"translate": "1a2b"}}))
    claim(tmp_path, replace(old, settings={"lr": 0.1, "mix": False}))
    with pytest.raises(UserError, match="mix is False there and True here"):
        claim(tmp_path, replace(old, settings={"lr": 0.1, "mix": True}))
    with pytest.raises(UserError, match="sample_rare is False there and True here"):
        claim(tmp_path, replace(old, settings={"lr": 0.1, "sample_rare": True}))
