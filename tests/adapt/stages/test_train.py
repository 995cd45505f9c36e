"""Training through the command line: whole runs, exact resume, mistakes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from lightning.fabric import Fabric
from safetensors.torch import load_file
from torch.nn import SyncBatchNorm
from torch.nn.modules.batchnorm import _BatchNorm

import roadshift
from adapt import checkpoint
from adapt.evaluation.evaluate import Views
from adapt.evaluation.score import score
from adapt.fit import _prepare
from adapt.methods.source_only import Config, SourceOnly
from adapt.run import Run

SMALL = {
    "--size": "64x128",
    "--source-size": "64x128",
    "--weights": "none",
    "--batch": "2",
    "--threads": "1",
    "--workers": "0",
    "--log-every": "1",
    "--picture-every": "100",
}


def command(method: str, source: str, target: str, out: Path, *more: str) -> list[str]:
    cities = ["--source", source, "--target", target, "--out", str(out)]
    small = [word for option in SMALL.items() if option[0] not in more for word in option]
    return ["adapt", method, *cities, *small, *more]


def in_process(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        roadshift.main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_a_run_folder_holds_everything(
    tiny_source: str, tiny_target: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    more = ["--steps", "3", "--save-every", "2", "--width-d", "8"]
    assert in_process(command("output_adversary", tiny_source, tiny_target, out, *more)) == 0
    info = checkpoint.read_info(out)
    assert info.classes == ("road", "building", "sky", "car")
    assert (info.method, info.steps, info.work_size) == ("output_adversary", 3, (64, 128))
    assert set(info.fingerprints) == {"source", "target"}
    assert info.settings["width_d"] == 8
    lines = [json.loads(text) for text in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert {"loss_G", "loss_D", "loss_D_aux", "lr"} <= set(lines[0])
    assert list((out / "pictures").glob("*.png"))
    assert list((out / "tensorboard").iterdir())
    assert not (out / "best.safetensors").exists()
    assert "roadshift export" in capfd.readouterr().out
    # Scored from the command line, with the result kept.
    scores = tmp_path / "scores.json"
    asked = ["evaluate", str(out), "--data", tiny_source, "--json", str(scores), "--flip"]
    assert in_process([*asked, "--pictures", str(tmp_path / "seen")]) == 0
    assert 0 <= json.loads(scores.read_text())["miou"] <= 100
    assert len(list((tmp_path / "seen").glob("*.png"))) == 8
    assert "mIoU" in capfd.readouterr().out
    # The same command again finds it finished; another setting is refused.
    assert in_process(command("output_adversary", tiny_source, tiny_target, out, *more)) == 0
    capfd.readouterr()
    assert (
        in_process(command("output_adversary", tiny_source, tiny_target, out, *more, "--lr", "1"))
        == 2
    )
    assert "holds another run: lr is None there and 1.0 here" in capfd.readouterr().err


def test_best_on_target_labels_only_behind_its_flag(
    tiny_source: str, tiny_target: str, tmp_path: Path
) -> None:
    more = ["--steps", "2", "--save-every", "1", "--select-on", tiny_source]
    assert in_process(command("source_only", tiny_source, tiny_target, tmp_path / "r", *more)) == 0
    lines = [json.loads(line) for line in (tmp_path / "r/metrics.jsonl").read_text().splitlines()]
    found = [line["select_miou"] for line in lines if "select_miou" in line]
    assert len(found) == 2
    best = score(
        tmp_path / "r", "best", tiny_source, Views(size=(64, 128)), device="cpu", pictures=None
    )
    assert best.miou == pytest.approx(max(found), abs=1e-6)
    assert checkpoint.read(tmp_path / "r", "best").info.method == "source_only"


def test_best_by_a_signal_that_needs_no_label(
    tiny_source: str, tiny_target: str, tmp_path: Path
) -> None:
    out, more = tmp_path / "r", ["--save-every", "1", "--keep-every", "1"]
    more += ["--keep-best-by", "entropy", "--steps", "3", "--lr", "0.1"]
    assert in_process(command("self_training", tiny_source, tiny_target, out, *more)) == 0
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    scores = {line["step"]: line["select_entropy"] for line in lines if "select_entropy" in line}
    assert sorted(scores) == [1, 2, 3]
    assert all(-1 <= score <= 0 for score in scores.values())
    best = max(scores, key=lambda step: scores[step])
    kept = load_file(out / f"step_{best:06d}.safetensors")
    found = load_file(out / "best.safetensors")
    for name, value in kept.items():
        assert torch.equal(found[name], value), name


def test_agreement_without_a_teacher_is_refused(
    tiny_source: str, tiny_target: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    more = ["--keep-best-by", "agreement"]
    assert in_process(command("source_only", tiny_source, tiny_target, tmp_path / "r", *more)) == 2
    assert "asks a teacher, and source_only has none" in capfd.readouterr().err
    more += ["--select-on", tiny_source]
    assert in_process(command("source_only", tiny_source, tiny_target, tmp_path / "r", *more)) == 2
    assert "give one of them" in capfd.readouterr().err


RESUMED = {
    "output_adversary": ["--width-d", "8"],
    "self_training": (
        "--warm-up 2 --w-mask 1 --mask-block 16 --sample-rare --style statistics --floor 0 "
        "--floor-things 0"
    ).split(),
}


@pytest.mark.parametrize("method", RESUMED)
def test_killed_and_resumed_equals_uninterrupted(
    method: str, tiny_source: str, tiny_target: str, tmp_path: Path
) -> None:
    """2N steps == N steps, SIGKILL, resume N: to the last bit, teacher and mixing included."""
    more = ["--steps", "8", "--save-every", "4", "--colour-jitter", "0.3", *RESUMED[method]]
    whole = command(method, tiny_source, tiny_target, tmp_path / "whole", *more)
    assert in_process(whole) == 0
    killed = command(method, tiny_source, tiny_target, tmp_path / "killed", *more)
    process = subprocess.Popen([sys.executable, "-m", "roadshift", *killed])
    while not (tmp_path / "killed/last.safetensors").is_file():
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert in_process(killed) == 0
    a, b = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "killed"))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)
    steps = [
        json.loads(line)["step"]
        for line in (tmp_path / "killed/metrics.jsonl").read_text().splitlines()
    ]
    assert steps == list(range(1, 9))


def test_ctrl_c_saves_before_it_ends(tiny_source: str, tiny_target: str, tmp_path: Path) -> None:
    """The terminal sends SIGINT to the run and to its loaders alike."""
    out = tmp_path / "run"
    more = ["--steps", "5000", "--save-every", "5000"]
    arguments = command("source_only", tiny_source, tiny_target, out, *more, "--workers", "1")
    process = subprocess.Popen(
        [sys.executable, "-m", "roadshift", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not (out / "metrics.jsonl").is_file() or not (out / "metrics.jsonl").read_text():
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "stopped after step" in said
    assert "Traceback" not in said
    assert checkpoint.read(out).info.steps == 5000


def test_nan_ends_the_run_and_keeps_the_checkpoint(
    tiny_source: str, tiny_target: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    more = ["--steps", "60", "--save-every", "1", "--lr", "1e30", "--optimizer", "sgd"]
    out = tmp_path / "run"
    assert in_process(command("source_only", tiny_source, tiny_target, out, *more)) == 1
    said = capfd.readouterr().err
    assert "the loss of G is" in said
    assert "the last checkpoint is intact" in said
    assert "Traceback" not in said
    state = load_file(out / "last.safetensors")
    assert len(state) > 100


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--network", "lraspp"], "unknown network 'lraspp': did you mean 'lraspp_mobilenet_v2'?"),
        (["--classes", "rode"], "unknown class 'rode'"),
        (["--steps", "0"], "--steps is 0; wanted 1 or more"),
        (["--batch", "3", "--devices", "2"], "--batch 3 does not divide among --devices 2"),
        (["--scale", "2", "1"], "wanted two factors, 0 < low <= high"),
        (["--size", "64"], "--size '64' is not a size; write HEIGHTxWIDTH"),
        (["--weights", "nowhere.pth"], "nowhere.pth"),
        (["--batch-norm", "sync", "--device", "cpu"], "--batch-norm sync needs CUDA"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_2(
    tiny_source: str,
    tiny_target: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    more: list[str],
    sentence: str,
) -> None:
    asked = command("source_only", tiny_source, tiny_target, tmp_path / "run", *more)
    assert in_process(asked) == 2
    said = capfd.readouterr().err
    assert sentence in said
    assert "Traceback" not in said


def test_a_start_that_failed_does_not_hold_the_folder(
    tiny_source: str, tiny_target: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    failed = command("source_only", tiny_source, tiny_target, out, "--weights", "nowhere.pth")
    assert in_process(failed) == 2
    assert "no weights file at nowhere.pth" in capfd.readouterr().err
    assert in_process(command("source_only", tiny_source, tiny_target, out, "--steps", "1")) == 0


def test_sync_batch_norm_replaces_every_layer_and_keeps_the_parameters() -> None:
    run = Run(source="", target="", out=Path(), weights="none", batch_norm="sync")
    method = SourceOnly(Config(), run, 3)
    before = dict(method.segmentor.named_parameters())
    _prepare(method, run, Fabric(accelerator="cpu", devices=1))
    layers = [m for m in method.segmentor.modules() if isinstance(m, _BatchNorm)]
    assert len(layers) > 50
    assert all(isinstance(layer, SyncBatchNorm) for layer in layers)
    assert all(p is before[name] for name, p in method.segmentor.named_parameters())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device to use")
def test_cuda_that_is_not_there_is_said(
    tiny_source: str, tiny_target: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = command("source_only", tiny_source, tiny_target, tmp_path / "r", "--device", "cuda")
    assert in_process(asked) == 2
    assert "--device cuda: torch sees no CUDA device here" in capfd.readouterr().err


def test_a_folder_with_other_things_is_left_alone(
    tiny_source: str, tiny_target: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert in_process(command("source_only", tiny_source, tiny_target, tmp_path)) == 2
    assert "holds other things and no run" in capfd.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
