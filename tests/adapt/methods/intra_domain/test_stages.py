"""The stages of intra-domain adaptation, by the command line, on the tiny city."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_city import write_tiny_city

import roadshift
from adapt import checkpoint, saved_state
from adapt.methods.intra_domain.config import RECIPES, Config
from adapt.stages.ablation import read_recipe

SMALL = (
    "--weights none --batch 2 --steps 2 --width-d 8 --picture-every 2 --workers 0 --threads 1"
).split()


def command(method: str, source: str, target: str, out: Path, *more: str) -> int:
    arguments = ["adapt", method, "--source", source, "--target", target, "--out", str(out)]
    with pytest.raises(SystemExit) as end:
        roadshift.main([*arguments, *SMALL, *more])
    return int(end.value.code or 0)


@pytest.fixture(scope="module")
def trained(tiny_source: str, tiny_target: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("intra") / "run"
    assert command("intra_domain", tiny_source, tiny_target, out) == 0
    return out


def test_every_stage_leaves_its_result_and_its_pictures(trained: Path) -> None:
    for stage in ("inter", "intra0", "intra1"):
        assert saved_state.step_of(trained / stage) == 2
        assert list((trained / stage / "pictures").glob("*.png")), stage
    for stage in ("separation0", "separation1"):
        assert len(list((trained / stage / "labels").glob("*.png"))) == 8
        assert (trained / stage / "pictures/000000.png").is_file()
        found = json.loads((trained / stage / "made.json").read_text())
        assert 0 <= found["prop"] <= 1
        assert set(found["prop_by_class"]) == set(found["thresholds"]) == {
            "road", "building", "sky", "car"
        }  # fmt: skip
    logged = json.loads((trained / "intra1/metrics.jsonl").read_text().splitlines()[-1])
    assert logged["prop"] == found["prop"]
    assert logged["thresholds/road"] == found["thresholds"]["road"]
    last = load_file(trained / "intra1/last.safetensors")
    state = checkpoint.read(trained).segmentor.state_dict()
    assert all(torch.equal(last[f"segmentor.{k}"], v) for k, v in state.items())


def test_what_is_gone_is_made_again_to_the_bit(
    trained: Path, tiny_source: str, tiny_target: str, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(trained, out)
    for gone in ("separation1", "intra1"):
        shutil.rmtree(out / gone)
    (out / "last.safetensors").unlink()
    assert command("intra_domain", tiny_source, tiny_target, out) == 0
    one, other = (load_file(p / "last.safetensors") for p in (trained, out))
    assert all(torch.equal(v, other[k]) for k, v in one.items())


def test_a_finished_run_takes_the_place_of_inter(
    tiny_source: str, tiny_target: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    inter, out = tmp_path / "inter", tmp_path / "run"
    arguments = [a for a in SMALL if a not in ("--width-d", "8")]
    with pytest.raises(SystemExit) as end:
        roadshift.main(["adapt", "source_only", "--source", tiny_source, "--target", tiny_target,
                        "--out", str(inter), *arguments])  # fmt: skip
    assert not end.value.code
    more = ["--inter", str(inter), "--rounds", "1", "--thresholds", "ias", "--mix"]
    assert command("intra_domain", tiny_source, tiny_target, out, *more) == 0
    assert not (out / "inter").exists()
    for wrong, sentence in (
        (["--size", "32x64"], "trained at the size the images' own, this run has 32x64"),
        (["--classes", "road,sky"], "trained for the classes"),
        (["--network", "pidnet_s"], "give --start weights"),
    ):
        folder = tmp_path / wrong[0]
        assert command("intra_domain", tiny_source, tiny_target, folder, *more, *wrong) == 2
        assert sentence in capfd.readouterr().err


def test_an_unfinished_inter_is_refused(
    trained: Path,
    tiny_source: str,
    tiny_target: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    half = tmp_path / "half"
    shutil.copytree(trained / "inter", half)
    info = json.loads((half / "run.json").read_text())
    (half / "run.json").write_text(json.dumps({**info, "steps": 5}))
    more = ["--inter", str(half)]
    assert command("intra_domain", tiny_source, tiny_target, tmp_path / "r", *more) == 2
    assert "is at step 2 of 5" in capfd.readouterr().err


def test_a_run_of_several_rounds_is_finished_after_the_last(
    trained: Path,
    tiny_source: str,
    tiny_target: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """One round of two: what lies there is a result, and not the result."""
    half = tmp_path / "half"
    shutil.copytree(trained, half)
    one = checkpoint.read(trained).segmentor
    saved_state.save(half / "last.safetensors", {"segmentor": one}, 2)
    more = ["--inter", str(half)]
    assert command("intra_domain", tiny_source, tiny_target, tmp_path / "r", *more) == 2
    assert "is at step 2 of 4" in capfd.readouterr().err


def test_the_source_as_another_run_drew_it(
    tiny_source: str, tiny_target: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Learnt is what lies in its folder; another source, or other classes, is refused."""
    drawn, out = tmp_path / "ldr", tmp_path / "run"
    cities = ["--source", tiny_source, "--target", tiny_target, "--out", str(drawn)]
    ldr = "--direction source_to_target --no-reconstruct --width 4 --blocks 1 --translate-steps 2"
    arguments = [a for a in SMALL if a not in ("--width-d", "8")]
    with pytest.raises(SystemExit) as end:
        roadshift.main(["adapt", "ldr", *cities, *arguments, *ldr.split(), "--stage", "translate"])
    assert not end.value.code
    more = ["--drawn-by", str(drawn), "--stage", "inter"]
    for label in (drawn / "translate/source_as_target/labels").iterdir():
        cv2.imwrite(str(label), np.full((32, 64), 255, np.uint8))
    kind = ["--inter-method", "source_only"]
    assert command("intra_domain", tiny_source, tiny_target, out, *more, *kind) == 0
    logged = json.loads((out / "inter/metrics.jsonl").read_text().splitlines()[-1])
    assert logged["loss_G"] == 0  # nothing is labelled in what the run drew
    fewer = ["--classes", "road,sky"]
    assert command("intra_domain", tiny_source, tiny_target, tmp_path / "o", *more, *fewer) == 2
    assert "drew another source" in capfd.readouterr().err


def test_images_of_two_sizes_and_labels_from_several_scales(
    tiny_source: str, tmp_path: Path
) -> None:
    target, out = write_tiny_city(tmp_path / "two", 4, 0.6, labels=False), tmp_path / "run"
    large = cv2.imread(str(target / "images/001.png"))
    cv2.imwrite(str(target / "images/001.png"), cv2.resize(large, (96, 48)))
    more = ["--rounds", "1", "--label-scales", "1", "--label-scales", "1.5"]
    more += ["--inter-method", "self_training", "--crop", "32x64"]
    assert command("intra_domain", tiny_source, f"folder:{target}", out, *more) == 0
    shapes = [cv2.imread(str(p), 0).shape for p in sorted((out / "separation0/labels").iterdir())]
    assert shapes == [(32, 64), (48, 96), (32, 64), (32, 64)]


def test_the_rows_of_a_table_share_their_first_stages(
    tiny_source: str, tiny_target: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """INTER, CTS, T=1 and KLD: one inter, one first round, a second round each of the last two."""
    recipe, out = tmp_path / "mine.toml", tmp_path / "rows"
    recipe.write_text(
        'title = "Parts"\n[rows]\n"INTER" = { rounds = 0 }\n"CTS" = { rounds = 1 }\n'
        '"T=1" = { w_kld = 0.0 }\n"KLD" = {}\n'
    )
    more = ["--ablation", str(recipe), "--scored-on", tiny_source]
    assert command("intra_domain", tiny_source, tiny_target, out, *more) == 0
    assert "Parts" in capfd.readouterr().out
    stages = sorted(p.name.rpartition("-")[0] for p in (out / "stages").iterdir())
    assert stages == ["inter", "intra0", "intra1", "intra1", "separation0", "separation1"]
    inter = load_file(next((out / "stages").glob("inter-*")) / "last.safetensors")
    state = checkpoint.read(out / "inter").segmentor.state_dict()
    assert all(torch.equal(inter[f"segmentor.{k}"], v) for k, v in state.items())


def test_whole_images_are_easy_or_hard_with_intra_das_split(
    tiny_source: str, tiny_target: str, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    more = ["--split", "image", "--adversary", "pla", "--discriminator-input", "entropy"]
    more += ["--rounds", "1", "--inter-method", "source_only", "--stage"]
    for stage in ("inter", "separation0", "intra0"):
        assert command("intra_domain", tiny_source, tiny_target, out, *more, stage) == 0
    maps = [cv2.imread(str(p), 0) for p in sorted((out / "separation0/labels").glob("*.png"))]
    easy = [bool((m < 4).all()) for m in maps]
    assert sum(easy) == round(0.67 * 8)
    assert all((m >= 4).all() for m, is_easy in zip(maps, easy, strict=True) if not is_easy)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--stage", "intra"], "unknown stage 'intra'"),
        (["--stage", "intra0"], "the stage inter is not done"),
        (["--select-on", "folder:x"], "leave out --select-on"),
        (["--alpha", "1.5"], "--alpha is 1.5"),
        (["--beta", "-1"], "--beta is -1"),
        (["--rounds", "-1"], "--rounds is -1; wanted 0 or more"),
        (["--inter", "x", "--rounds", "0"], "--rounds is 0; wanted 1 or more"),
        (["--label-scales", "0"], "--label-scales (0.0,): wanted factors above 0"),
        (["--drawn-by", "/nowhere"], "holds 0 drawn images"),
        (["--drawn-by", "x", "--inter", "y"], "--drawn-by is for the stage inter"),
        (["--ablation", "table3"], "give --scored-on"),
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
    assert command("intra_domain", tiny_source, tiny_target, tmp_path / "run", *more) == 2
    assert sentence in capfd.readouterr().err


@pytest.mark.parametrize(
    ("name", "rows"),
    [("table3", 5), ("table4", 4), ("table5", 11), ("table6", 3), ("table8", 6), ("beta", 5)],
)
def test_the_papers_tables_are_recipes(name: str, rows: int) -> None:
    assert len(read_recipe(name, RECIPES, Config).rows) == rows
