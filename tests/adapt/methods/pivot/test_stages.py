"""The stages of pivot interaction transfer, by the command line, on the tiny city."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_city import write_tiny_city

import roadshift
from adapt import saved_state
from adapt.methods.pivot.config import RECIPES, Config
from adapt.methods.pivot.frozen_network import FrozenNetwork
from adapt.methods.pivot.quality import off
from adapt.stages.ablation import read_recipe
from roadshift import UserError

SMALL = {
    "--weights": "none",
    "--features-weights": "none",
    "--features-network": "resnet18",
    "--batch": "2",
    "--steps": "2",
    "--classifier-steps": "6",
    "--classifier-batch": "4",
    "--picture-every": "2",
    "--save-every": "1",
    "--workers": "0",
    "--threads": "1",
}


def command(source: str, target: str, out: Path, *more: str) -> int:
    arguments = ["adapt", "pivot", "--source", source, "--target", target, "--out", str(out)]
    options = SMALL | dict(zip(more[::2], more[1::2], strict=True))
    with pytest.raises(SystemExit) as end:
        roadshift.main([*arguments, *(word for pair in options.items() for word in pair)])
    return int(end.value.code or 0)


@pytest.fixture(scope="module")
def trained(tiny_source: str, tiny_target: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pivot") / "run"
    assert command(tiny_source, tiny_target, out) == 0
    return out


def test_every_stage_leaves_its_result_and_its_pictures(trained: Path) -> None:
    found = load_file(trained / "features/source/000000.safetensors")
    assert found["features"].shape == (8, 512)
    assert found["shares"].sum(1).tolist() == pytest.approx([1.0] * 8)
    assert set(load_file(trained / "features/target/000000.safetensors")) == {"features"}
    assert saved_state.step_of(trained / "classifier") == 6
    labels = json.loads((trained / "image_labels/target.json").read_text())
    assert (labels["kind"], len(labels["images"])) == ("shares", 8)
    made = json.loads((trained / "image_labels/made.json").read_text())
    assert sum(made["source_mean"].values()) == pytest.approx(1.0)
    for folder in (trained, trained / "classifier", trained / "image_labels"):
        assert list((folder / "pictures").glob("*.png")), folder


@pytest.mark.parametrize("stage", ["features", "classifier", "image_labels", ""])
def test_what_is_gone_is_made_again_to_the_bit(
    stage: str, trained: Path, tiny_source: str, tiny_target: str, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(trained, out)
    if stage:
        shutil.rmtree(out / stage)
    (out / "last.safetensors").unlink()
    assert command(tiny_source, tiny_target, out) == 0
    one, other = (load_file(p / "last.safetensors") for p in (trained, out))
    assert all(torch.equal(v, other[k]) for k, v in one.items())


@pytest.mark.parametrize("stage", ["classifier", ""])
def test_stopped_in_the_middle_it_ends_the_same(
    stage: str,
    trained: Path,
    tiny_source: str,
    tiny_target: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed after a step that was saved: the same command goes on from there."""
    out, after, save = tmp_path / "run", 3 if stage else 1, saved_state.save

    def dying(path: Path, state: saved_state.State, step: int) -> None:
        save(path, state, step)
        if path.parent.name == (stage or "run") and step == after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(saved_state, "save", dying)
        assert command(tiny_source, tiny_target, out) == 130
    assert saved_state.step_of(out / stage) == after
    assert command(tiny_source, tiny_target, out) == 0
    one, other = (load_file(p / "last.safetensors") for p in (trained, out))
    assert all(torch.equal(v, other[k]) for k, v in one.items())


def test_features_of_an_earlier_run_are_taken_or_refused(
    trained: Path,
    tiny_source: str,
    tiny_target: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    given, out = ["--features", str(trained / "features")], tmp_path / "run"
    assert command(tiny_source, tiny_target, out, *given) == 0
    assert not (out / "features").exists()
    one, other = (load_file(p / "last.safetensors") for p in (trained, out))
    assert all(torch.equal(v, other[k]) for k, v in one.items())
    for more, sentence in (
        (["--features-network", "mobilenet_v2"], "features of another network: resnet18 there"),
        (["--size", "32x64"], "features of another target_size"),
        (["--classes", "road,sky"], "features of another source"),
    ):
        assert command(tiny_source, tiny_target, tmp_path / "no", *given, *more) == 2
        assert sentence in capfd.readouterr().err
    nothing = ["--features", str(tmp_path)]
    assert command(tiny_source, tiny_target, tmp_path / "no", *nothing) == 2
    assert "holds no finished features" in capfd.readouterr().err


def test_true_presence_takes_the_classifiers_place(
    tiny_source: str, tiny_target: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "presence.csv", tmp_path / "run"
    lines = ["presence,road,building,sky,car", *(f"{i:03d}.png,1,1,1,0" for i in range(8))]
    path.write_text("\n".join(lines))
    assert command(tiny_source, tiny_target, out, "--image-labels", str(path)) == 0
    assert not (out / "classifier").exists()
    path.write_text("\n".join(lines).replace("1,0", "1,1"))  # another file is another run
    assert command(tiny_source, tiny_target, out, "--image-labels", str(path)) == 2
    assert "image_labels is" in capfd.readouterr().err
    path.write_text("\n".join(lines[:-1]))
    assert command(tiny_source, tiny_target, tmp_path / "no", "--image-labels", str(path)) == 2
    assert "lacks 1 of the 8 images" in capfd.readouterr().err


def test_training_opens_no_label_of_the_target(tiny_source: str, tmp_path: Path) -> None:
    """Beside the target's images lie labels that cannot be read."""
    city = write_tiny_city(tmp_path / "camera", 4, 0.6)
    for label in (city / "labels").iterdir():
        label.write_bytes(b"nothing")
    assert command(tiny_source, f"folder:{city}", tmp_path / "run") == 0


def test_weights_of_another_network_are_refused(
    tiny_source: str, tiny_target: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "weights.safetensors"
    state = {k: v.contiguous() for k, v in FrozenNetwork("mobilenet_v2").net.state_dict().items()}
    save_file(state, path)
    more = ["--features-weights", str(path)]
    assert command(tiny_source, tiny_target, tmp_path / "run", *more) == 2
    error = capfd.readouterr().err
    assert "fits 0 of 100 tensors of resnet18" in error
    assert "another --features-network" in error
    FrozenNetwork("mobilenet_v2").load(str(path))
    more = ["--features-network", "resnet"]
    assert command(tiny_source, tiny_target, tmp_path / "run2", *more) == 2
    assert "did you mean 'resnet101'" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("name", "channels"), [("googlenet", 1024), ("timm:inception_resnet_v2", 1536)]
)
def test_networks_with_an_input_of_their_own(name: str, channels: int) -> None:
    network = FrozenNetwork(name)
    assert network(torch.rand(1, 3, 96, 128)).shape == (1, channels) == (1, network.channels)
    if name.startswith("timm"):
        assert network.normalise.mean.flatten().tolist() == [0.5] * 3


@pytest.mark.parametrize("name", ["squeezenet1_0", "vit_b_16", "timm:nobody"])
def test_networks_that_cannot_be_asked_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"timm has no network|unknown --features-network"):
        FrozenNetwork(name)


def test_timm_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match=r"needs roadshift\[timm\]: pip install it"):
        FrozenNetwork("timm:inception_resnet_v2")


def test_features_are_what_the_last_layer_reads() -> None:
    torch.manual_seed(0)
    network = FrozenNetwork("resnet18")
    x = torch.rand(1, 3, 64, 64)
    seen: list[torch.Tensor] = []
    network.net.avgpool.register_forward_hook(lambda *a: seen.append(a[2]))
    with torch.no_grad():
        assert torch.equal(network(x), seen[0].flatten(1))
    assert network.channels == 512
    assert not any(p.requires_grad for p in network.parameters())


def test_how_good_the_labels_are_is_told_beside_the_sources_mean(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    y, p = torch.tensor([[0.5, 0.5], [1.0, 0.0]]), torch.tensor([[0.25, 0.75], [0.5, 0.5]])
    found = off(y, p)
    # KL: 0.5 log 2 + 0.5 log(2/3), and log 2.
    assert found.kl == pytest.approx((0.14384 + 0.69315) / 2, abs=1e-4)
    assert found.mae == pytest.approx((0.25 + 0.5) / 2)
    spec = f"folder:{write_tiny_city(tmp_path / 'truth', 4, 0.6)}"
    asked = ["study", "image_labels", str(trained), "--data", spec]
    with pytest.raises(SystemExit) as end:
        roadshift.main([*asked, "--json", str(tmp_path / "quality.json")])
    assert not end.value.code
    plain = json.loads((tmp_path / "quality.json").read_text())
    assert plain["images"] == 4
    # The tiny city's images are alike: their mean says nearly all, an untrained network nothing.
    assert 0 < plain["source_mean"]["kl"] < plain["classifier"]["kl"]
    with pytest.raises(SystemExit) as end:
        roadshift.main(["study", "image_labels", str(trained / "classifier"), "--data", spec])
    assert end.value.code == 2
    assert "give a finished run of pivot" in capfd.readouterr().err


def test_recipes_are_rows_of_this_method() -> None:
    tables = {p.stem: read_recipe(p.stem, RECIPES, Config).rows for p in RECIPES.glob("*.toml")}
    assert {name: len(rows) for name, rows in tables.items()} == {
        "table3": 7,
        "table4": 4,
        "table5": 2,
    }
    assert tables["table4"]["4"] == {"r": (0.5, 1.0, 1.5, 2.0)}
