"""Self-training as a command: from a finished run, from the labels of several, its mistakes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import roadshift
from adapt import checkpoint, saved_state
from adapt.methods.self_training.self_training import Config
from adapt.methods.self_training.stages import RECIPES
from adapt.networks import build_part
from adapt.stages.ablation import read_recipe

SMALL = "--weights none --batch 2 --steps 2 --workers 0 --threads 1 --floor 0 --floor-things 0"


def code(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        roadshift.main([*words])
    assert isinstance(end.value.code, int)
    return end.value.code


@pytest.fixture(scope="module")
def cities(tiny_source: str, tiny_target: str) -> list[str]:
    return ["--source", tiny_source, "--target", tiny_target]


@pytest.fixture(scope="module")
def started(cities: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("started") / "run"
    small = SMALL.replace("--floor 0 --floor-things 0", "").split()
    assert code("adapt", "source_only", *cities, *small, "--out", str(out)) == 0
    return out


def learn(cities: list[str], out: Path, *more: str) -> int:
    return code("adapt", "self_training", *cities, *SMALL.split(), "--out", str(out), *more)


def test_it_begins_from_a_finished_run(cities: list[str], started: Path, tmp_path: Path) -> None:
    """With a rate of zero student and teacher are still that run."""
    assert learn(cities, tmp_path / "run", "--teacher", str(started), "--lr", "0",
                 "--batch-norm", "frozen") == 0  # fmt: skip
    x = torch.rand(1, 3, 64, 128)
    old, new = (checkpoint.read(path).segmentor for path in (started, tmp_path / "run"))
    torch.testing.assert_close(old(x).logits, new(x).logits)
    assert list((tmp_path / "run" / "pictures").glob("*.png"))
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert 0 <= last["target_agreement"] <= 1


def test_labels_of_several_runs_are_made_once_and_kept(
    cities: list[str], started: Path, tmp_path: Path
) -> None:
    fixed = ["--labels", "fixed", "--labels-from", str(started), "--labels-from", str(started)]
    assert learn(cities, tmp_path / "run", *fixed) == 0
    made = sorted((tmp_path / "run" / "pseudo_labels" / "labels").iterdir())
    assert len(made) == 8
    stamp = made[0].stat().st_mtime_ns
    assert learn(cities, tmp_path / "run", *fixed) == 0
    assert made[0].stat().st_mtime_ns == stamp


def test_labels_of_other_runs_are_made_anew_where_nothing_was_learnt_yet(
    cities: list[str], started: Path, tmp_path: Path
) -> None:
    """Killed after its labels, a run given other teachers must not learn from the old ones."""
    out, other = tmp_path / "run", tmp_path / "other"
    small = SMALL.replace("--floor 0 --floor-things 0", "--seed 5").split()
    assert code("adapt", "source_only", *cities, *small, "--out", str(other)) == 0
    assert learn(cities, out, "--labels", "fixed", "--labels-from", str(started)) == 0
    before = (out / "pseudo_labels" / "made.json").read_text()
    (out / "last.safetensors").unlink()
    assert learn(cities, out, "--labels", "fixed", "--labels-from", str(other)) == 0
    after = (out / "pseudo_labels" / "made.json").read_text()
    assert json.loads(after)["thresholds"] != json.loads(before)["thresholds"]


def test_labels_of_several_views_are_other_labels(
    cities: list[str], started: Path, tmp_path: Path
) -> None:
    fixed = ["--labels", "fixed", "--labels-from", str(started)]
    views = [*fixed, "--label-scales", "1", "--label-scales", "1.5"]
    found = []
    for name, more in (("one", fixed), ("two", views), ("both ways", [*fixed, "--label-flip"])):
        assert learn(cities, tmp_path / name, *more) == 0
        made = tmp_path / name / "pseudo_labels" / "made.json"
        found.append(tuple(json.loads(made.read_text())["thresholds"].values()))
    assert len(set(found)) == 3


def test_the_recipe_of_its_parts_changes_what_it_says() -> None:
    recipe, plain = read_recipe("parts", RECIPES, Config), Config()
    for name, changes in recipe.rows.items():
        assert all(getattr(plain, key) != value for key, value in changes.items()), name


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--threshold", "1.5"], "--threshold is 1.5; wanted 0..1"),
        (["--ema", "-0.1"], "--ema is -0.1; wanted 0..1"),
        (["--labels", "fixed"], "--labels fixed and --labels-from RUN... go together"),
        (["--label-flip"], "--label-scales and --label-flip are for --labels fixed"),
        (
            ["--labels", "fixed", "--labels-from", "x", "--label-scales", "0"],
            "--label-scales (0.0,): wanted factors above 0",
        ),
        (["--w-mask", "1", "--crop", "24x48"], "--mask-block 32 does not fit into crops of 24x48"),
        (["--mask-block", "0"], "--mask-block 0: wanted"),
        (["--warm-up", "-1"], "--warm-up -1"),
        (["--keep-every", "-1"], "--keep-every is -1"),
        (["--w-features", "0.1"], "--w-features needs the ImageNet backbone"),
        (["--select-on", "toytown:camera"], "keeps no best checkpoint"),
        (["--ablation", "parts"], "give --scored-on"),
    ],
)
def test_mistakes_are_one_sentence(
    more: list[str],
    said: str,
    cities: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert learn(cities, tmp_path / "run", *more) == 2
    assert said in capsys.readouterr().err


def test_a_teacher_of_another_network_or_other_classes_is_refused(
    cities: list[str], started: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = ["--teacher", str(started), "--network", "pidnet_s"]
    assert learn(cities, tmp_path / "one", *other) == 2
    assert "is a lraspp_mobilenet_v2 and the student a pidnet_s" in capsys.readouterr().err
    parts = {"translator": {"kind": "translator", "width": 4, "blocks": 1}}
    saved, two = checkpoint.read(started), tmp_path / "two parts"
    checkpoint.write_info(two, replace(saved.info, parts=saved.info.parts | parts))
    networks = {"segmentor": saved.segmentor, "translator": build_part(parts["translator"])}
    saved_state.save(two / "last.safetensors", networks, 2)
    assert learn(cities, tmp_path / "three", "--teacher", str(two)) == 2
    assert "has the parts segmentor, translator; wanted a segmentor" in capsys.readouterr().err
    fewer = ["--teacher", str(started), "--classes", "road,sky"]
    assert learn(cities, tmp_path / "two", *fewer) == 2
    assert "was trained for the classes road, building, sky, car" in capsys.readouterr().err
