"""The stages of label-driven reconstruction, by the command line, on the tiny city."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import roadshift
from adapt import checkpoint, saved_state
from adapt.evaluation.evaluate import logits_of
from adapt.methods.ldr.config import RECIPES, Config
from adapt.methods.ldr.stages import LabelDrivenReconstruction
from adapt.networks.segmentors.translated import Translated
from adapt.run import Run
from adapt.stages.ablation import read_recipe
from roadshift import UserError

SMALL = (
    "--weights none --batch 2 --steps 3 --width 4 --blocks 1 --translate-steps 2 "
    "--pretrain-steps 2 --picture-every 2 --workers 0"
).split()
STAGES = ["translate", "pretrain", "joint0", "pseudo_labels1", "joint1"]


def ldr(source: str, target: str, out: Path, *more: str) -> int:
    command = ["adapt", "ldr", "--source", source, "--target", target, "--out", str(out)]
    with pytest.raises(SystemExit) as end:
        roadshift.main([*command, *SMALL, *more])
    return int(end.value.code or 0)


@pytest.fixture(scope="module")
def trained(tiny_source: str, tiny_target: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ldr") / "run"
    assert ldr(tiny_source, tiny_target, out) == 0
    return out


def test_every_stage_leaves_its_result_and_its_pictures(trained: Path) -> None:
    assert list((trained / "pseudo_labels1/pictures").glob("*.png"))
    for stage in ("translate", "pretrain", "joint0", "joint1"):
        assert saved_state.step_of(trained / stage) == (2 if stage[0] in "tp" else 3)
        assert list((trained / stage / "pictures").glob("*.png")), stage
    images = sorted((trained / "translate/target_as_source/images").glob("*.png"))
    labels = sorted((trained / "pseudo_labels1/labels").glob("*.png"))
    assert len(images) == len(labels) == 8
    found = json.loads((trained / "pseudo_labels1/made.json").read_text())
    assert set(found["thresholds"]) == {"road", "building", "sky", "car"}
    assert all(0 <= t <= 0.9 for t in found["thresholds"].values())


def test_rare_classes_are_drawn_more_often_where_the_segmentor_learns(
    tiny_source: str, tiny_target: str, tmp_path: Path
) -> None:
    for rare in (False, True):
        run = Run(
            source=tiny_source, target=tiny_target, out=tmp_path / str(rare), weights="none",
            workers=0, sample_rare=rare, device="cpu",
        )  # fmt: skip
        stages = LabelDrivenReconstruction(Config(reconstruct=False), run)
        stages._source = lambda stages=stages: stages.cities.source  # as if F had drawn it
        stages._target = lambda stages=stages: stages.cities.target
        joint, translate = stages._joint(0).draws(), stages._translate().draws()
        assert (joint.source.rare is not None) == rare
        assert translate.source.rare is None


def test_the_deployed_function_is_g_of_f(trained: Path) -> None:
    segmentor, info, reconstructor = checkpoint.read(trained)
    assert isinstance(segmentor, Translated)
    assert info.method == "ldr"
    assert reconstructor is not None
    joint = load_file(trained / "joint1/last.safetensors")
    state = segmentor.segmentor.state_dict()
    assert all(torch.equal(joint[f"segmentor.{k}"], v) for k, v in state.items())
    image = torch.randint(0, 256, (1, 40, 72, 3), dtype=torch.uint8)
    with torch.no_grad():
        x = segmentor.translator(image.permute(0, 3, 1, 2).float() / 255)
        wanted = segmentor.segmentor(x).logits
        assert torch.equal(logits_of(segmentor, image, None), wanted)


def test_what_g_sees_in_training_is_what_f_draws(trained: Path, tiny_target: str) -> None:
    segmentor = checkpoint.read(trained).segmentor
    assert isinstance(segmentor, Translated)
    folder = Path(tiny_target.removeprefix("folder:")) / "images"
    bgr = cv2.imread(str(sorted(folder.glob("*.png"))[3]))
    x = torch.from_numpy(bgr[:, :, ::-1].copy()).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        drawn = (segmentor.translator(x)[0].permute(1, 2, 0) * 255).round().byte().numpy()
    kept = cv2.imread(str(trained / "translate/target_as_source/images/000003.png"))[:, :, ::-1]
    assert int(np.abs(drawn.astype(int) - kept).max()) <= 1


def test_what_is_there_is_not_made_again(trained: Path, tiny_source: str, tiny_target: str) -> None:
    files = [p for p in trained.rglob("*") if p.suffix in {".png", ".safetensors"}]
    files = [p for p in files if p.parent != trained]
    before = {p: p.stat().st_mtime_ns for p in files}
    assert ldr(tiny_source, tiny_target, trained) == 0
    assert {p: p.stat().st_mtime_ns for p in files} == before


def test_one_stage_at_a_time_gives_the_same_result(
    trained: Path,
    tiny_source: str,
    tiny_target: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for stage in STAGES:
        assert ldr(tiny_source, tiny_target, tmp_path / "run", "--stage", stage) == 0
        said = capsys.readouterr().out
        assert ("this stage is done" in said) == (stage in STAGES[:2])  # the next one segments
        assert ("trained: " in said) == (stage not in STAGES[:2])
    one, other = (load_file(p / "last.safetensors") for p in (trained, tmp_path / "run"))
    assert one.keys() == other.keys()
    assert all(torch.allclose(v, other[k], atol=1e-4) for k, v in one.items())


def test_a_stage_that_was_killed_goes_on(
    tiny_source: str, tiny_target: str, trained: Path, tmp_path: Path
) -> None:
    """Without what came after joint0's checkpoint, the same command makes it again, equally."""
    out = tmp_path / "run"
    shutil.copytree(trained, out)
    for gone in ("pseudo_labels1", "joint1"):
        shutil.rmtree(out / gone)
    (out / "last.safetensors").unlink()
    assert ldr(tiny_source, tiny_target, out) == 0
    one, other = (load_file(p / "last.safetensors") for p in (trained, out))
    assert all(torch.allclose(v, other[k], atol=1e-4) for k, v in one.items())


def test_source_to_target_needs_no_translator_when_deployed(
    tiny_source: str, tiny_target: str, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    more = ["--direction", "source_to_target", "--no-reconstruct", "--source-size", "48x80"]
    more += ["--size", "40x72"]
    assert ldr(tiny_source, tiny_target, out, *more) == 0
    segmentor, _, reconstructor = checkpoint.read(out)
    assert not isinstance(segmentor, Translated)
    assert reconstructor is None
    assert not (out / "pretrain").exists()
    drawn = out / "translate/source_as_target"
    for folder in ("images", "labels"):
        shapes = {cv2.imread(str(p)).shape[:2] for p in (drawn / folder).glob("*.png")}
        assert shapes == {(48, 80)}


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--stage", "joint"], "unknown stage 'joint'"),
        (["--stage", "joint1"], "the stage translate is not done"),
        (["--select-on", "folder:x"], "leave out --select-on"),
        (["--style", "statistics"], "leave out --style"),
        (["--rounds", "0"], "--rounds is 0"),
        (["--tau", "0"], "--tau is 0"),
        (["--history", "-1"], "--history is -1; wanted 0 or more"),
        (["--alpha", "-1"], "--alpha is -1.0; wanted 0 or more"),
        (["--perceptual", "vgg19", "--perceptual-weights", "/no.pth"], "no weights file"),
        (["--ablation", "table3"], "give --scored-on"),
        (["--ablation", "table9", "--scored-on", "x"], "unknown recipe 'table9'"),
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
    assert ldr(tiny_source, tiny_target, tmp_path / "run", *more) == 2
    assert sentence in capfd.readouterr().err


@pytest.mark.parametrize(
    "case",
    [
        ("pseudo_labels1", "joint1", "the stage pseudo_labels1 is not done"),
        ("translate/target_as_source/made.json", "joint0", "target_as_source is not whole"),
    ],
)
def test_a_stage_without_its_predecessors_files(
    trained: Path,
    tiny_source: str,
    tiny_target: str,
    tmp_path: Path,
    case: tuple[str, str, str],
    capfd: pytest.CaptureFixture[str],
) -> None:
    (gone, stage, sentence), out = case, tmp_path / "run"
    shutil.copytree(trained, out)
    if (out / gone).is_dir():
        shutil.rmtree(out / gone)
    else:
        (out / gone).unlink()
    assert ldr(tiny_source, tiny_target, out, "--stage", stage) == 2
    assert sentence in capfd.readouterr().err


def test_other_settings_do_not_resume_a_stage(
    trained: Path, tiny_source: str, tiny_target: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert ldr(tiny_source, tiny_target, trained, "--tau", "0.5") == 2
    assert "tau is 0.1 there and 0.5 here" in capfd.readouterr().err


def test_without_perceptual_weights_the_term_is_off_and_says_so(
    tiny_source: str, tiny_target: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "roadshift", "adapt", "ldr", "--source", tiny_source]
    command += ["--target", tiny_target, "--out", str(tmp_path / "run"), *SMALL]
    command += ["--perceptual", "vgg19", "--stage", "pretrain"]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=Path(roadshift.__file__).parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert "no ImageNet weights for vgg19: the perceptual term of Eq. 5 is off" in ended.stderr


def test_an_ablation_trains_scores_and_prints_its_rows(
    tiny_source: str, tiny_target: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "two.toml"
    recipe.write_text(
        'title = "Two rows"\n[rows]\n"without" = { reconstruct = false }\n"tau 1" = { tau = 1.0 }'
    )
    out = tmp_path / "rows"
    more = ["--ablation", str(recipe), "--scored-on", tiny_source, "--rounds", "1"]
    assert ldr(tiny_source, tiny_target, out, *more) == 0
    printed = capfd.readouterr().out
    assert all(text in printed for text in ("Two rows", "without", "tau 1", "mIoU"))
    assert sorted(p.name for p in out.iterdir()) == ["ablation.json", "stages", "tau-1", "without"]
    assert len(list((out / "stages").iterdir())) == 2  # one translate, one pretrain
    rows = json.loads((out / "ablation.json").read_text())["rows"]
    assert checkpoint.read(out / "tau-1").info.scores[tiny_source]["miou"] == rows["tau 1"]["miou"]


@pytest.mark.parametrize("name", ["table3", "table4", "table5", "table6"])
def test_the_papers_tables_are_recipes(name: str) -> None:
    recipe = read_recipe(name, RECIPES, Config)
    assert name[-1] in recipe.title
    assert len(recipe.rows) == {"3": 3, "4": 5, "5": 2, "6": 4}[name[-1]]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("tua = 1.0", "unknown setting 'tua': did you mean 'tau'"),
        ('tau = "hot"', "tau is 'hot', wanted a value like 0.1"),
        ('space = "labels"', "did you mean 'label'"),
        ("reconstruct = 1", "wanted a value like True"),
    ],
)
def test_a_recipes_mistakes_are_named(tmp_path: Path, row: str, sentence: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'title = "x"\n[rows.a]\n{row}\n')
    with pytest.raises(UserError, match=sentence):
        read_recipe(str(path), RECIPES, Config)


def test_a_file_that_is_no_recipe_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("rows = 3")
    with pytest.raises(UserError, match=r"mine\.toml is no recipe"):
        read_recipe(str(path), RECIPES, Config)
