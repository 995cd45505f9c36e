"""The teacher's labels, their weights by class, and how it follows the student."""

import torch
from tiny_batch import tiny_run
from torch import nn

from adapt.methods.self_training.self_training import Config, SelfTraining
from adapt.methods.self_training.teacher import PRIOR_STEPS, Balance, follow, share_of_confident


def probabilities(confidence: list[list[float]], labels: list[list[int]]) -> torch.Tensor:
    """[1, 3, h, w] with that confidence in that class, the rest shared by the others."""
    c, y = torch.tensor([confidence]), torch.tensor([labels])
    p = ((1 - c) / 2)[:, None].repeat(1, 3, 1, 1)
    return p.scatter(1, y[:, None], c[:, None])


def test_all_pixels_count_as_the_share_that_is_confident() -> None:
    p = probabilities([[0.99, 0.97], [0.5, 0.6]], [[0, 1], [2, 0]])
    found = share_of_confident(p, 0.968)
    assert found.y.tolist() == [[[0, 1], [2, 0]]]
    assert torch.equal(found.w, torch.full((1, 2, 2), 0.5))


def test_a_pixel_counts_from_its_own_class_median_on_but_not_under_the_floor() -> None:
    balance = Balance(torch.full((3,), 0.7))
    p = probabilities([[0.95, 0.9, 0.8], [0.6, 0.55, 0.5]], [[0, 0, 0], [1, 1, 1]])
    found = balance(p)
    torch.testing.assert_close(balance.thresholds()[0], torch.tensor(0.9), atol=0.01, rtol=0)
    torch.testing.assert_close(balance.thresholds()[1:], torch.tensor([0.7, 0.7]))
    assert (found.w > 0).tolist() == [[[True, True, False], [False, False, False]]]


def test_every_class_has_a_floor_of_its_own() -> None:
    balance = Balance(torch.tensor([0.7, 0.3, 0.3]))
    p = probabilities([[0.6, 0.6, 0.6], [0.5, 0.4, 0.35]], [[0, 0, 0], [1, 1, 1]])
    found = balance(p)
    assert (found.w > 0).tolist() == [[[False, False, False], [True, True, False]]]


def test_a_class_that_grows_beyond_its_first_share_counts_less() -> None:
    balance = Balance(torch.zeros(3))
    even = probabilities([[0.9, 0.9]] * 2, [[0, 1]] * 2)
    for _ in range(PRIOR_STEPS):
        balance(even)
    prior = balance.prior.clone()
    before = balance.weights()
    one = probabilities([[0.9, 0.9]] * 2, [[0, 0]] * 2)
    for _ in range(200):
        found = balance(one)
    assert torch.equal(balance.prior, prior)
    after = balance.weights()
    assert after[0] < before[0]
    assert after[1] > before[1]
    assert 0.3 <= float(found.w[found.w > 0].min()) <= float(found.w.max()) <= 3


def test_the_teacher_keeps_its_share_of_parameters_and_statistics() -> None:
    teacher, student = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    nn.init.constant_(student.weight, 3.0)
    student.running_mean = torch.tensor([1.0, 2.0])
    student.num_batches_tracked = torch.tensor(7)
    follow(teacher, student, 0.75)
    assert teacher.weight.tolist() == [1.5, 1.5]
    assert teacher.running_mean is not None
    assert teacher.running_mean.tolist() == [0.25, 0.5]
    assert int(teacher.num_batches_tracked or 0) == 7
    assert student.weight.tolist() == [3.0, 3.0]


def test_things_have_a_floor_of_their_own() -> None:
    config = Config(floor=0.7, floor_things=0.3)
    method = SelfTraining(config, tiny_run(), ("road", "car", "pole", "person"))
    assert torch.equal(method.balance.floors, torch.tensor([0.7, 0.3, 0.7, 0.3]))
