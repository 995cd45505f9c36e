"""The stages of symmetric adaptation, by the command line, on the tiny city."""

import json
import shutil
from pathlib import Path

import cv2
import pytest
import torch
from safetensors.torch import load_file

import roadshift
from adapt import checkpoint, saved_state
from adapt.methods.symmetric.config import Config
from adapt.methods.symmetric.stages import SymmetricAdaptation
from adapt.networks.image_generator import Translator
from adapt.networks.segmentors.fused import Fused
from adapt.run import Run

SMALL = (
    "--weights none --batch 2 --steps 3 --width 4 --width-d 8 --blocks 1 --translate-steps 2 "
    "--translate-batch 2 --picture-every 2 --workers 0 --threads 1"
).split()


def symmetric(source: str, target: str, out: Path, *more: str) -> int:
    command = ["adapt", "symmetric", "--source", source, "--target", target, "--out", str(out)]
    with pytest.raises(SystemExit) as end:
        roadshift.main([*command, *SMALL, *more])
    return int(end.value.code or 0)


def evaluated(*arguments: str) -> None:
    with pytest.raises(SystemExit) as end:
        roadshift.main([*arguments])
    assert not end.value.code


@pytest.fixture(scope="module")
def trained(tiny_source: str, tiny_target: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("symmetric") / "run"
    assert symmetric(tiny_source, tiny_target, out) == 0
    return out


def test_every_stage_leaves_its_result_and_its_pictures(trained: Path) -> None:
    for stage, steps in (("translate", 2), ("adapt0", 3), ("adapt1", 3)):
        assert saved_state.step_of(trained / stage) == steps
        assert list((trained / stage / "pictures").glob("*.png")), stage
    assert len(list((trained / "translate/source_as_target/labels").glob("*.png"))) == 8
    assert len(list((trained / "pseudo_labels1/labels").glob("*.png"))) == 8
    lines = (trained / "adapt1/metrics.jsonl").read_text().splitlines()
    assert all(0 <= json.loads(lines[-1])[k] <= 1 for k in ("target_agreement", "target_entropy"))


def test_the_mean_of_both_is_deployed(trained: Path) -> None:
    segmentor, info, _ = checkpoint.read(trained)
    assert isinstance(segmentor, Fused)
    assert info.method == "symmetric"
    last = load_file(trained / "adapt1/last.safetensors")
    for name, one in zip(("segmentor_A", "segmentor_B"), segmentor.each, strict=True):
        state = one.state_dict()
        assert all(torch.equal(last[f"{name}.{k}"], v) for k, v in state.items())


def test_a_round_that_is_gone_is_made_again_to_the_bit(
    trained: Path, tiny_source: str, tiny_target: str, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(trained, out)
    shutil.rmtree(out / "adapt1")
    (out / "last.safetensors").unlink()
    assert symmetric(tiny_source, tiny_target, out) == 0
    one, other = (load_file(p / "last.safetensors") for p in (trained, out))
    assert one.keys() == other.keys()
    assert all(torch.equal(v, other[k]) for k, v in one.items())


def test_one_of_the_two_is_deployed_where_that_is_asked(
    trained: Path, tiny_source: str, tiny_target: str, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert symmetric(tiny_source, tiny_target, out, "--deploy", "B") == 0
    alone = checkpoint.read(out).segmentor
    fused = checkpoint.read(trained).segmentor
    assert isinstance(fused, Fused)
    wanted = fused.each[1].state_dict()
    assert all(torch.equal(v, wanted[k]) for k, v in alone.state_dict().items())


def test_evaluate_and_compare_report_both_and_their_mean(
    trained: Path, tiny_source: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    scores = tmp_path / "scores.json"
    evaluated("evaluate", str(trained), "--data", tiny_source, "--json", str(scores))
    found = json.loads(scores.read_text())
    assert set(found["parts"]) == {"A", "B"}
    printed = capfd.readouterr().out
    for name, part in found["parts"].items():
        assert f"mIoU of {name} alone" in printed
        assert set(part["iou"]) == set(found["iou"])
    evaluated("compare", str(trained), "--data", tiny_source, "--out", str(tmp_path / "c"))
    rows = {r["name"]: r for r in json.loads((tmp_path / "c/compare.json").read_text())["runs"]}
    assert set(rows) == {"run", "run A", "run B"}
    assert rows["run A"]["miou"] == pytest.approx(found["parts"]["A"]["miou"])
    assert rows["run"]["cost"]["gflops"] == pytest.approx(
        rows["run A"]["cost"]["gflops"] + rows["run B"]["cost"]["gflops"], rel=0.02
    )


def test_an_early_stage_that_is_asked_for_again_does_not_replace_the_result(
    trained: Path, tiny_source: str, tiny_target: str, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(trained, out)
    assert symmetric(tiny_source, tiny_target, out, "--stage", "adapt0") == 0
    assert saved_state.fingerprint(out / "last.safetensors") == saved_state.fingerprint(
        trained / "last.safetensors"
    )


def test_a_round_belongs_to_the_stages_it_was_begun_after(
    trained: Path, tiny_source: str, tiny_target: str, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    """A run that was stopped in its first round, and goes on without translation."""
    out = tmp_path / "run"
    shutil.copytree(trained / "translate", out / "translate")
    shutil.copytree(trained / "adapt0", out / "adapt0")
    shutil.copy(trained / "run.json", out)
    assert symmetric(tiny_source, tiny_target, out, "--no-translate") == 2
    assert "adapt0 holds another run: needs is {'translate'" in capfd.readouterr().err


def test_without_translation_the_source_is_as_it_is(
    tiny_source: str, tiny_target: str, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    more = ["--no-translate", "--rounds", "1", "--consistency", "overlap"]
    assert symmetric(tiny_source, tiny_target, out, *more) == 0
    assert not (out / "translate").exists()
    shown = cv2.imread(str(next((out / "adapt0/pictures").glob("*.png"))))
    assert shown.shape[1] == 5 * 64  # image, A, B, M_total, the labels


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--stage", "adapt"], "unknown stage 'adapt'"),
        (["--stage", "adapt1"], "the stage translate is not done"),
        (["--select-on", "folder:x"], "leave out --select-on"),
        (["--keep-best-by", "entropy"], "leave out --keep-best-by"),
        (["--rounds", "0"], "--rounds is 0"),
        (["--max-threshold", "1.5"], "--max-threshold is 1.5"),
        (["--ablation", "parts"], "give --scored-on"),
        (["--translate-crop", "foo"], "--translate-crop 'foo' is not a size"),
        (["--translate-crop", "8x64"], "--translate-crop 8x64 is too small"),
        (["--lr-d", "-1"], "--lr-d is -1.0; wanted more than 0"),
        (["--label-scales", "0"], "--label-scales (0.0,)"),
    ],
)
def test_mistakes_are_one_sentence(
    tiny_source: str,
    tiny_target: str,
    tmp_path: Path,
    more: list[str],
    sentence: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert symmetric(tiny_source, tiny_target, tmp_path / "run", *more) == 2
    assert sentence in capfd.readouterr().err


def test_an_ablation_shares_what_its_rows_have_in_common(
    tiny_source: str, tiny_target: str, tmp_path: Path
) -> None:
    recipe = tmp_path / "two.toml"
    recipe.write_text('title = "Two"\n[rows]\n"one" = {}\n"overlap" = { consistency = "overlap" }')
    out = tmp_path / "rows"
    more = ["--ablation", str(recipe), "--scored-on", tiny_source]
    assert symmetric(tiny_source, tiny_target, out, *more) == 0
    shared = sorted(p.name.partition("-")[0] for p in (out / "stages").iterdir())
    assert shared == ["adapt0", "adapt1", "adapt1", "translate"]


def test_the_source_is_drawn_as_large_as_draws_enlarge_it(
    tiny_source: str, tiny_target: str, tmp_path: Path
) -> None:
    """Else what is enlarged is blurred, as no image of the target is."""
    run = Run(
        source=tiny_source, target=tiny_target, out=tmp_path, weights="none", workers=0,
        source_size="32x64", scale=(1.0, 1.5), device="cpu",
    )  # fmt: skip
    stages = SymmetricAdaptation(Config(width=4, blocks=1), run)
    stages._towards_target = lambda: Translator(4, 1)
    folder = tmp_path / "drawn"
    stages._drawn().make(folder)
    shapes = {cv2.imread(str(p)).shape[:2] for p in folder.rglob("*.png")}
    assert shapes == {(48, 96)}
