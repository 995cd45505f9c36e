"""One contract for all methods."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_batch import tiny_batch, tiny_run
from torch import nn

from adapt import saved_state
from adapt.fit import Method
from adapt.methods import output_adversary, source_only
from adapt.run import Run

METHODS: dict[str, Callable[[Run], Any]] = {
    "source_only": lambda run: source_only.SourceOnly(source_only.Config(), run, 4),
    "output_adversary": lambda run: output_adversary.OutputAdversary(
        output_adversary.Config(width_d=8), run, 4
    ),
    "entropy, least squares": lambda run: output_adversary.OutputAdversary(
        output_adversary.Config(
            width_d=8, discriminator_input="entropy", adversarial_loss="least_squares"
        ),
        run,
        4,
    ),
}


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> Method:
    torch.manual_seed(0)
    return METHODS[request.param](tiny_run())


def test_a_step_moves_every_network_and_returns_finite_losses(method: Method) -> None:
    networks = {k: v for k, v in method.state.items() if isinstance(v, nn.Module)}
    before = {k: [p.clone() for p in v.parameters()] for k, v in networks.items()}
    losses = method.step(tiny_batch())
    assert all(loss.isfinite() and not loss.requires_grad for loss in losses.values())
    for name, network in networks.items():
        pairs = zip(before[name], network.parameters(), strict=True)
        assert any(not torch.equal(p, q) for p, q in pairs), name


def test_twenty_steps_lower_the_source_loss(method: Method) -> None:
    batch = tiny_batch()
    first = float(method.step(batch)["G"])
    for _ in range(19):
        last = float(method.step(batch)["G"])
    assert last < 0.7 * first


def test_saved_and_loaded_it_takes_the_same_next_step(
    method: Method, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    batch = tiny_batch()
    method.step(batch)
    saved_state.save(tmp_path / "last.safetensors", method.state, 1)
    torch.manual_seed(1)
    expected = method.step(batch)
    torch.manual_seed(7)
    other = METHODS[request.node.callspec.params["method"]](tiny_run())
    assert saved_state.load(tmp_path / "last.safetensors", other.state) == 1
    torch.manual_seed(1)
    assert all(torch.equal(v, expected[k]) for k, v in other.step(batch).items())


def test_the_segmentor_moves_its_target_outputs_to_the_source_side() -> None:
    """With D fixed and nothing labelled, D's score of target outputs (1 = target) must fall."""
    torch.manual_seed(0)
    config = output_adversary.Config(width_d=8, w_adv=1.0, w_adv_aux=0.0, w_aux=0.0, lr_d=0.0)
    method = output_adversary.OutputAdversary(config, tiny_run(), 4)
    batch = tiny_batch()
    unlabelled = batch._replace(y_s=torch.full_like(batch.y_s, 255))

    def target_score() -> float:
        with torch.no_grad():
            z = method.G(torch.cat([batch.x_s, batch.x_t])).logits
            full = nn.functional.interpolate(z, size=batch.x_t.shape[-2:], mode="bilinear")
            return float(method.D(full.softmax(1)).chunk(2)[1].mean())

    before = target_score()
    for _ in range(10):
        method.step(unlabelled)
    assert target_score() < before


def test_the_discriminator_learns_which_city_is_which() -> None:
    """With the segmentor fixed, D must score target outputs (1) above source outputs (0)."""
    torch.manual_seed(0)
    config = output_adversary.Config(width_d=8, lr_d=1e-2)
    run = dataclasses.replace(tiny_run(), lr=0.0)
    method = output_adversary.OutputAdversary(config, run, 4)
    batch = tiny_batch()
    for _ in range(20):
        losses = method.step(batch)
    assert float(losses["D"]) < 0.6
    with torch.no_grad():
        z = method.G(torch.cat([batch.x_s, batch.x_t])).logits
        full = nn.functional.interpolate(z, size=batch.x_t.shape[-2:], mode="bilinear")
        d_s, d_t = method.D(full.softmax(1)).chunk(2)
    assert float(d_t.mean()) > float(d_s.mean())
