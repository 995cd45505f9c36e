"""The distance to the backbone that it began from: on things alone, and it holds them back."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_batch import tiny_batch, tiny_run

from adapt.methods.self_training.self_training import Config, SelfTraining
from adapt.networks import build

CLASSES = ("road", "building", "sky", "car")
CAR = 3


@pytest.fixture
def method(tmp_path: Path) -> SelfTraining:
    torch.manual_seed(3)
    weights = tmp_path / "backbone.safetensors"
    backbone = build("lraspp_mobilenet_v2", 4).backbone.state_dict()
    save_file({k: v.contiguous() for k, v in backbone.items()}, weights)
    run = replace(tiny_run(), weights=str(weights))
    method = SelfTraining(Config(w_features=1.0, warm_up=100), run, CLASSES)
    method.begin(str(weights))
    return method


def distance(method: SelfTraining, y: torch.Tensor) -> torch.Tensor:
    x = tiny_batch().x_s
    return method._feature_distance(method.G.eval()(x), x, y).detach()


def test_it_is_zero_at_the_start_and_without_things(method: SelfTraining) -> None:
    y = torch.full_like(tiny_batch().y_s, CAR)
    assert float(distance(method, y)) < 1e-4
    method.G.backbone[-1][1].bias.data += 0.5
    assert float(distance(method, y)) > 0.1
    for other in (0, 255):
        assert float(distance(method, torch.full_like(y, other))) == 0


def test_by_hand_it_is_the_mean_length_over_cells_of_things(method: SelfTraining) -> None:
    x, y = tiny_batch().x_s, torch.zeros_like(tiny_batch().y_s)
    y[:, :32, :32] = CAR  # one cell of the stride-32 features
    y[:, 32:, 32:52] = CAR  # 20 of 32 columns of another: not enough of it
    for layer in (method.G.backbone[0][0], method.G.backbone[-1][0]):  # unlike from cell to cell
        layer.weight.data *= 20
    assert method.imagenet is not None
    with torch.no_grad():
        now, before = method.G.eval()(x).features, method.imagenet.eval()(x).features
    wanted = torch.linalg.vector_norm((now - before)[:, :, 0, 0], dim=1).mean()
    assert float(distance(method, y)) == pytest.approx(float(wanted), rel=1e-4)


def test_a_step_counts_it_and_moves_nothing_of_the_frozen_one(method: SelfTraining) -> None:
    batch = tiny_batch()
    batch = batch._replace(y_s=torch.full_like(batch.y_s, CAR))
    assert method.imagenet is not None
    before = {k: v.clone() for k, v in method.imagenet.state_dict().items()}
    for _ in range(3):
        losses = method.step(batch)
    assert float(losses["features"]) > 0
    torch.testing.assert_close(losses["G"], losses["source"] + losses["features"])
    assert all(torch.equal(before[k], v) for k, v in method.imagenet.state_dict().items())
