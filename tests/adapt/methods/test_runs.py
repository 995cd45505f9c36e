"""One contract for all methods, as commands: two processes are one, and the result exports."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_segmentor import TinySegmentor

import roadshift
from adapt.networks import SEGMENTORS
from export.bundle import read_bundle

NETWORK = "lraspp_mobilenet_v2"
PLAIN = (
    "--weights none --batch 4 --steps 1 --workers 0 --threads 1 --colour-jitter 0 "
    "--batch-norm frozen --optimizer sgd --lr 0.1 --backbone-scale 1"
).split()
LDR = (
    "--width 4 --blocks 1 --translate-steps 1 --translate-batch 4 --pretrain-steps 1 --history 0 "
    "--perceptual none --pretrain-lr 1e-9 --tau 1"
).split()  # Adam's first step is the gradient's sign: where that is 0, rounding would decide

SYMMETRIC = "--width 4 --width-d 8 --blocks 1 --translate-steps 1 --translate-batch 4".split()

METHODS = {
    "source_only": [],
    "output_adversary": ["--width-d", "8"],
    "ldr": [*LDR, "--rounds", "1"],
    "self_training": ["--no-mix", "--ema", "0.5"],
    "intra_domain": ["--width-d", "8", "--rounds", "1", "--lr-d", "1e-9"],
    "feature_to_image": ["--width", "4", "--dropout", "0", "--lr-images", "1e-9"],
    "pivot": "--features-weights none --classifier-steps 2 --classifier-batch 4".split(),
    "symmetric": [*SYMMETRIC, "--rounds", "1"],
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


def adapt(method: str, cities: tuple[str, str], out: Path, network: str = NETWORK) -> list[str]:
    source, target = cities
    return ["adapt", method, "--source", source, "--target", target, "--out", str(out),
            "--network", network, *PLAIN, *METHODS[method]]  # fmt: skip


def distil(teacher: Path, out: Path, network: str = NETWORK) -> list[str]:
    return ["distill", str(teacher), "--out", str(out), "--student", network, *PLAIN]


def trained(root: Path, cities: tuple[str, str], network: str) -> dict[str, Path]:
    """A run of each method, by one process."""
    for method in METHODS:
        run(adapt(method, cities, root / method, network))
    run(distil(root / "source_only", root / "distillation", network))
    return {path.name: path for path in sorted(root.iterdir())}


@pytest.fixture(scope="module")
def cities(tiny_source: str, tiny_target: str) -> tuple[str, str]:
    return tiny_source, tiny_target


@pytest.fixture(scope="module")
def runs(cities: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return trained(tmp_path_factory.mktemp("runs"), cities, NETWORK)


@pytest.fixture(scope="module")
def tiny_runs(
    cities: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Path]]:
    """What a method hands over does not depend on its network, and a small one is exported soon."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SEGMENTORS, "tiny", TinySegmentor)
        yield trained(tmp_path_factory.mktemp("tiny_runs"), cities, "tiny")


@pytest.mark.parametrize("method", [*METHODS, "distillation"])
def test_two_processes_give_the_gradients_of_one(
    method: str, runs: dict[str, Path], cities: tuple[str, str], tmp_path: Path
) -> None:
    """--devices 2 on the CPU equals one process with the same whole batch, 255 pixels included."""
    if method == "distillation":
        asked = distil(runs["source_only"], tmp_path / "two")
    else:
        asked = adapt(method, cities, tmp_path / "two")
    run([*asked, "--devices", "2"], apart=True)
    compared = 0
    for path in sorted(runs[method].rglob("last.safetensors")):
        one = load_file(path)
        two = load_file(tmp_path / "two" / path.relative_to(runs[method]))
        # What moved by SGD moved by its gradient; Adam's first moment is a tenth of the gradient.
        gradients = [k for k in one if k.startswith("segmentor") or k.endswith("exp_avg")]
        for key in gradients:
            wanted = one[key].float()
            off = torch.linalg.vector_norm(two[key].float() - wanted)
            size = torch.linalg.vector_norm(wanted)
            # M's biases before an instance norm have no gradient: what is there is rounding.
            none = key.startswith("optimizer_M.") and wanted.ndim == 1 and size < 1e-4
            assert off <= (1e-4 if none else 1e-3 * size + 3e-5), (path.parent.name, key)
        compared += len(gradients)
    assert compared > 100


@pytest.mark.parametrize("method", [*METHODS, "distillation"])
def test_the_result_is_exported(
    method: str, tiny_runs: dict[str, Path], cities: tuple[str, str], tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    frames = ["--frames", cities[1], "--count", "2"]
    run(["export", str(tiny_runs[method]), "--out", str(bundle), "--size", "64x128", *frames])
    found = read_bundle(bundle)
    assert found.checks["precisions"]["fp32"]["passed"]
    assert found.provenance["method"] == method
    assert ("reconstructor.onnx" in found.files) == (method == "ldr")
