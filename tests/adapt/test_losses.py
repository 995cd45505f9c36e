import math

import pytest
import torch

from adapt.losses import (
    cross_entropy,
    cross_entropy_to,
    least_squares_to,
    weighted_self_information,
)


def test_cross_entropy_is_the_mean_over_labelled_pixels() -> None:
    logits = torch.tensor([[[[0.0, 2.0, 9.0]], [[0.0, 0.0, -9.0]]]])
    y = torch.tensor([[[0, 1, 255]]], dtype=torch.uint8)
    by_hand = (math.log(2) + math.log(1 + math.exp(2))) / 2
    assert float(cross_entropy(logits, y)) == pytest.approx(by_hand, abs=1e-6)


def test_cross_entropy_of_nothing_labelled_is_zero_and_has_a_gradient() -> None:
    logits = torch.zeros(1, 2, 1, 2, requires_grad=True)
    loss = cross_entropy(logits, torch.full((1, 1, 2), 255, dtype=torch.uint8))
    loss.backward()
    assert float(loss.detach()) == 0
    assert logits.grad is not None
    assert float(logits.grad.abs().sum()) == 0


def test_weighted_self_information_sums_to_the_normalised_entropy() -> None:
    p = torch.tensor([0.25, 0.25, 0.25, 0.25]).view(1, 4, 1, 1)
    assert float(weighted_self_information(p).sum()) == pytest.approx(1)
    sure = torch.tensor([1.0, 0.0, 0.0, 0.0]).view(1, 4, 1, 1)
    assert float(weighted_self_information(sure).sum()) == pytest.approx(0)


def test_domain_losses_by_hand() -> None:
    d = torch.tensor([[[[0.0, 2.0]]]])
    assert float(cross_entropy_to(d, 1.0)) == pytest.approx(
        (math.log(2) + math.log(1 + math.exp(-2))) / 2
    )
    assert float(least_squares_to(d, 1.0)) == pytest.approx(1.0)
