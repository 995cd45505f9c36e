"""The whole road on a tiny city by its commands, with equal answers at each hand-over."""

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import tritonclient.http

import roadshift
from adapt import checkpoint, saved_state
from adapt.evaluation.evaluate import Views, evaluating, predict
from export.bundle import read_bundle
from serve.runtime.engine import Engine

NAME = "bundle"


def command(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        roadshift.main([str(word) for word in words])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory, tiny_source: str, tiny_target: str) -> Path:
    """A trained run and its bundle; the network works at 64x128 on frames of 32x64."""
    root = tmp_path_factory.mktemp("road")
    cities = ["--source", tiny_source, "--target", tiny_target, "--out", root / "run"]
    sizes = ["--size", "64x128", "--source-size", "64x128", "--weights", "none", "--lr", "3e-3"]
    small = ["--steps", "80", "--batch", "4", "--backbone-scale", "1", "--width-d", "8"]
    assert command("adapt", "output_adversary", *cities, *sizes, *small, "--workers", "0") == 0
    assert command("export", root / "run", "--out", root / NAME, "--data", tiny_source) == 0
    return root


def test_torch_bundle_and_golden_frames_agree(road: Path) -> None:
    segmentor, info, _ = checkpoint.read(road / "run")
    bundle = read_bundle(road / NAME)
    engine = Engine(bundle)
    assert bundle.classes == info.classes
    made = bundle.checks["precisions"]["fp32"]
    assert made["passed"]
    assert len(made["sizes"]) >= 3
    golden = bundle.golden()
    assert golden
    for image, labels, *_ in golden:
        assert len(np.unique(labels)) > 1, "a network that says one class everywhere shows nothing"
        with evaluating(segmentor):
            by_torch = predict(segmentor, image.copy(), Views(size=info.work_size))
        by_bundle = engine.segment(image[None]).labels[0]
        assert (by_torch == labels).mean() > 0.999
        assert (by_bundle == labels).mean() > 0.999
    assert engine.check_golden() > 0.999


@pytest.fixture(scope="module")
def server(road: Path) -> Iterator[str]:
    """`roadshift serve` as its own process; its address, once it is ready."""
    words = [sys.executable, "-m", "roadshift", "serve", str(road / NAME), "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split("http://")[1].split()[0]
            while not is_ready(address):
                assert process.poll() is None
                time.sleep(0.1)
            yield address
        finally:
            process.terminate()
    assert process.returncode in (0, -signal.SIGTERM)


def is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/v2/health/ready") as answer:
            return answer.status == 200
    except urllib.error.HTTPError as answer:
        answer.close()
        return False


def test_http_answers_are_the_golden_labels(road: Path, server: str) -> None:
    image, labels, *_ = read_bundle(road / NAME).golden()[0]
    with tritonclient.http.InferenceServerClient(server) as client:
        assert client.is_model_ready(NAME)
        tensor = tritonclient.http.InferInput("image", [1, *image.shape], "UINT8")
        tensor.set_data_from_numpy(image[None])
        by_tensor = client.infer(NAME, [tensor]).as_numpy("labels")
    png = cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()
    request = urllib.request.Request(
        f"http://{server}/segment?as=labels", png, {"Content-Type": "image/png"}
    )
    with urllib.request.urlopen(request) as answer:
        by_png = cv2.imdecode(np.frombuffer(answer.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    assert by_tensor is not None
    assert (by_tensor[0] == labels).mean() > 0.999
    assert np.array_equal(by_tensor[0], by_png)


def test_segment_writes_the_same_labels(road: Path, tmp_path: Path) -> None:
    image, *_ = read_bundle(road / NAME).golden()[1]
    cv2.imwrite(str(tmp_path / "street.png"), image[:, :, ::-1])
    assert command("segment", road / NAME, tmp_path / "street.png", "--out", tmp_path / "o") == 0
    written = cv2.imread(str(tmp_path / "o/street.labels.png"), cv2.IMREAD_UNCHANGED)
    expected = Engine(read_bundle(road / NAME)).segment(image[None]).labels[0]
    assert np.array_equal(written, expected)


def test_the_network_learnt_the_source(road: Path, tiny_source: str, tmp_path: Path) -> None:
    scores = tmp_path / "scores.json"
    assert command("evaluate", road / "run", "--data", tiny_source, "--json", scores) == 0
    assert json.loads(scores.read_text())["miou"] > 20


def test_a_damaged_network_is_not_exported(
    road: Path, tiny_source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A NaN weight ends in one sentence, and the bundle that was there stays."""
    (tmp_path / "run").mkdir()
    segmentor, info, _ = checkpoint.read(road / "run")
    checkpoint.write_info(tmp_path / "run", info)
    next(segmentor.parameters()).data.fill_(torch.nan)
    saved_state.save(tmp_path / "run/last.safetensors", {"segmentor": segmentor}, 1)
    before = read_bundle(road / NAME).files
    asked = ["export", tmp_path / "run", "--out", road / NAME, "--data", tiny_source]
    assert command(*asked) == 1
    assert "NaN" in capsys.readouterr().err
    assert read_bundle(road / NAME).files == before
