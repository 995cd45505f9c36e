"""Unpaired translation: its losses by hand, its history, and that it learns a change of colours."""

import dataclasses
from pathlib import Path

import pytest
import torch
from tiny_batch import tiny_batch
from torch import nn

from adapt import saved_state
from adapt.methods.ldr.translation import Config, History, Translation
from adapt.networks.image_generator import Reconstructor, Translator
from adapt.networks.patch_discriminator import Judged

TINY = Config(width=4, blocks=1, history=4, translate_lr=2e-3)
CROP = (64, 128)


class Constant(nn.Module):
    """Draws everything in one grey, or judges everything alike."""

    def __init__(self, value: float, *, judge: bool = False) -> None:
        super().__init__()
        self.p, self.judge = nn.Parameter(torch.tensor(value)), judge

    def forward(self, x: torch.Tensor) -> torch.Tensor | Judged:
        if self.judge:
            return Judged((), self.p.expand(len(x), 1, 1, 1))
        return self.p.expand_as(x)


def test_the_losses_are_cyclegans() -> None:
    """F draws 0.25 and F_inv 0.75 of grey images 0.5; both discriminators say 0.2."""
    method = Translation(dataclasses.replace(TINY, w_cycle=10.0, w_identity=5.0), CROP)
    method.F, method.F_inv = Constant(0.25), Constant(0.75)  # type: ignore[assignment]
    method.D_t, method.D_s = (Constant(0.2, judge=True) for _ in range(2))  # type: ignore[assignment]
    method.game.optimizers = {
        "D": torch.optim.SGD([method.D_t.p, method.D_s.p], lr=0.0),  # type: ignore[list-item]
        "F": torch.optim.SGD([method.F.p, method.F_inv.p], lr=0.0),  # type: ignore[list-item]
    }
    grey = torch.full((1, 3, *CROP), 0.5)
    losses = method.step(tiny_batch()._replace(x_s=grey, x_t=grey))
    assert float(losses["D"]) == pytest.approx(0.8**2 + 0.2**2)
    # What comes back is 0.25 away, and so is what should have stayed as it was.
    assert float(losses["F"]) == pytest.approx(2 * 0.8**2 + (10 + 5) * (0.25 + 0.25))


def test_adversarial_signs() -> None:
    """D_t learns to say 1 of source images; F alone then raises what it says of drawn ones."""
    torch.manual_seed(0)
    config = dataclasses.replace(TINY, w_cycle=0.0, w_identity=0.0, history=0, translate_lr=1e-2)
    method, batch = Translation(config, CROP), tiny_batch()
    batch = batch._replace(x_t=batch.x_s.flip(1))  # red for blue
    players = method.game.optimizers

    def drawn() -> float:
        with torch.no_grad():
            return float(method.D_t(method.F(batch.x_t)).logits.mean())

    players["F"].param_groups[0]["lr"] = 0.0
    for _ in range(15):
        method.step(batch)
    before = drawn()
    with torch.no_grad():
        assert float(method.D_t(batch.x_s).logits.mean()) > before + 0.02
    players["F"].param_groups[0]["lr"], players["D"].param_groups[0]["lr"] = 1e-2, 0.0
    for _ in range(15):
        method.step(batch)
    assert drawn() > before + 0.02


def test_resuming_is_exact_history_included(tmp_path: Path) -> None:
    torch.manual_seed(0)
    method, batch = Translation(TINY, CROP), tiny_batch()
    for _ in range(2):
        method.step(batch)
    saved_state.save(tmp_path / "last.safetensors", method.state, 2)
    torch.manual_seed(1)
    expected = method.step(batch)
    other = Translation(TINY, CROP)
    saved_state.load(tmp_path / "last.safetensors", other.state)
    torch.manual_seed(1)
    assert all(torch.equal(v, expected[k]) for k, v in other.step(batch).items())


def test_the_history_fills_and_then_gives_earlier_images() -> None:
    torch.manual_seed(0)
    history = History(3, (2, 2))
    image = lambda k: torch.full((1, 3, 2, 2), float(k))  # noqa: E731
    assert all(torch.equal(history.swap(image(k)), image(k)) for k in range(1, 4))
    shown = [float(history.swap(image(k)).mean()) for k in range(4, 104)]
    same = sum(s == k for k, s in enumerate(shown, 4))
    assert 30 < same < 70
    assert all(s <= k for k, s in enumerate(shown, 4))
    assert len(set(shown)) == len(shown)  # an earlier one leaves the history when it is shown


def test_no_history_shows_what_was_drawn() -> None:
    x = torch.rand(2, 3, 2, 2)
    assert torch.equal(History(0, (2, 2)).swap(x), x)


@pytest.mark.parametrize("size", [(16, 16), (33, 47), (64, 90)])
def test_a_translator_keeps_the_size_and_starts_as_the_identity(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, *size)
    with torch.no_grad():
        y = Translator(8, 2)(x)
    assert y.shape == x.shape
    assert float((y - x).abs().mean()) < 0.02


def test_a_translator_can_brighten_dark_images_and_leave_light_ones() -> None:
    torch.manual_seed(0)
    F = Translator(4, 1)
    optimizer = torch.optim.Adam(F.parameters(), 0.02)
    for _ in range(150):
        light = torch.rand(4, 3, 32, 32) * torch.rand(4, 3, 1, 1) / 2 + 0.3
        images = torch.cat([light, 0.4 * light + 0.05])
        off = (F(images) - torch.cat([light, light])).abs().mean()
        optimizer.zero_grad()
        off.backward()
        optimizer.step()
    wanted = float((light - (0.4 * light + 0.05)).abs().mean()) / 2  # of one change for both
    assert float(off.detach()) < wanted / 2


@pytest.mark.parametrize("size", [(32, 32), (33, 47)])
def test_a_reconstructor_draws_in_the_labels_size(size: tuple[int, int]) -> None:
    with torch.no_grad():
        y = Reconstructor(5, 4, 1)(torch.zeros(1, 5, *size))
    assert y.shape == (1, 3, *size)
    assert 0 <= float(y.min()) <= float(y.max()) <= 1


def test_a_map_of_one_class_is_drawn_and_not_noise() -> None:
    """Instance norm must not blow up rounding errors: float32 draws what float64 does."""
    torch.manual_seed(0)
    M, omega = Reconstructor(4, 16, 3), torch.zeros(1, 4, 64, 96)
    omega[:, 1] = 1
    with torch.no_grad():
        single, double = M(omega), M.double()(omega.double())
    assert float((single - double).abs().max()) < 1 / 255


def test_what_is_alike_is_drawn_without_a_grid() -> None:
    torch.manual_seed(0)
    M = Reconstructor(3, width=4, blocks=1)
    halves = torch.eye(3)[[0, 1]].repeat_interleave(160, 0).T[None, :, None].expand(-1, -1, 320, -1)
    with torch.inference_mode():
        whole = M.generator(halves)[0]
    drawn = whole[:, 152:168, 72:88]  # far from border and other class
    assert float(whole.std()) > 1e-3
    torch.testing.assert_close(drawn, drawn[:, :1, :1].expand_as(drawn), atol=1e-5, rtol=0)
