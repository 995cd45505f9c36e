"""One contract for all methods, as commands: two processes are one, and the result exports."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import roadshift
from export.bundle import read_bundle

PLAIN = (
    "--weights none --batch 4 --steps 1 --workers 0 --threads 1 --colour-jitter 0 "
    "--batch-norm frozen --optimizer sgd --lr 0.1 --backbone-scale 1 --network lraspp_mobilenet_v2"
).split()
LDR = (
    "--width 4 --blocks 1 --translate-steps 1 --translate-batch 4 --pretrain-steps 1 --history 0 "
    "--perceptual none --pretrain-lr 1e-9 --tau 1"
).split()  # Adam's first step is the gradient's sign: where that is 0, rounding would decide

METHODS = {
    "source_only": [],
    "output_adversary": ["--width-d", "8"],
    "ldr": [*LDR, "--rounds", "1"],
    "self_training": ["--no-mix", "--ema", "0.5"],
}


def run(arguments: list[str], *, apart: bool = False) -> None:
    """A command that must end well; apart where it starts other processes."""
    if apart:
        command = [sys.executable, "-m", "roadshift", *arguments]
        ended = subprocess.run(command, check=False, cwd=Path(roadshift.__file__).parent)
        assert ended.returncode == 0
        return
    with pytest.raises(SystemExit) as end:
        roadshift.main(arguments)
    assert end.value.code == 0


def command(method: str, cities: tuple[str, str], out: Path) -> list[str]:
    source, target = cities
    return ["adapt", method, "--source", source, "--target", target, "--out", str(out),
            *PLAIN, *METHODS[method]]  # fmt: skip


def student(teacher: Path, out: Path) -> list[str]:
    plain = ["--student" if word == "--network" else word for word in PLAIN]
    return ["distill", str(teacher), "--out", str(out), *plain]


@pytest.fixture(scope="module")
def cities(tiny_source: str, tiny_target: str) -> tuple[str, str]:
    return tiny_source, tiny_target


@pytest.fixture(scope="module")
def runs(cities: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each method, by one process."""
    root = tmp_path_factory.mktemp("runs")
    for method in METHODS:
        run(command(method, cities, root / method))
    run(student(root / "source_only", root / "distillation"))
    return {path.name: path for path in sorted(root.iterdir())}


@pytest.mark.parametrize("method", [*METHODS, "distillation"])
def test_two_processes_give_the_gradients_of_one(
    method: str, runs: dict[str, Path], cities: tuple[str, str], tmp_path: Path
) -> None:
    """--devices 2 on the CPU equals one process with the same whole batch, 255 pixels included."""
    if method == "distillation":
        run([*student(runs["source_only"], tmp_path / "two"), "--devices", "2"], apart=True)
    else:
        run([*command(method, cities, tmp_path / "two"), "--devices", "2"], apart=True)
    compared = 0
    for path in sorted(runs[method].rglob("last.safetensors")):
        one = load_file(path)
        two = load_file(tmp_path / "two" / path.relative_to(runs[method]))
        # What moved by SGD moved by its gradient; Adam's first moment is a tenth of the gradient.
        gradients = [k for k in one if k.startswith("segmentor.") or k.endswith("exp_avg")]
        for key in gradients:
            wanted = one[key].float()
            off = torch.linalg.vector_norm(two[key].float() - wanted)
            assert off <= 1e-3 * torch.linalg.vector_norm(wanted) + 3e-5, (path.parent.name, key)
        compared += len(gradients)
    assert compared > 100


@pytest.mark.parametrize("method", [*METHODS, "distillation"])
def test_the_result_is_exported(
    method: str, runs: dict[str, Path], cities: tuple[str, str], tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    frames = ["--frames", cities[1], "--count", "2"]
    run(["export", str(runs[method]), "--out", str(bundle), "--size", "64x128", *frames])
    found = read_bundle(bundle)
    assert found.checks["precisions"]["fp32"]["passed"]
    assert found.provenance["method"] == method
    assert ("reconstructor.onnx" in found.files) == (method == "ldr")
