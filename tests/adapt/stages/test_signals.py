"""Entropy, diversity and agreement of predictions, and the warning of a run that collapses."""

import json
import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from adapt.data.datasets import unlabelled
from adapt.monitor import Monitor
from adapt.networks import Segmented, Segmentor
from adapt.run import Run
from adapt.stages.signals import signals


class Says(Segmentor):
    """The same logits for every pixel, whatever the image."""

    align_corners = False

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.says = torch.nn.Parameter(torch.tensor(logits), requires_grad=False)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Segmented:
        z = self.says[None, :, None, None].expand(len(x), -1, 4, 4)
        return Segmented(z, z)


def test_the_unsure_have_all_entropy_and_the_sure_none(tiny_target: str) -> None:
    images = unlabelled(tiny_target)
    unsure = signals([Says(0.0, 0.0, 0.0, 0.0)], images, None)
    assert unsure["target_entropy"] == pytest.approx(1)
    assert unsure["target_diversity"] == pytest.approx(4)
    assert unsure["target_information"] == pytest.approx(0, abs=1e-6)
    assert "target_agreement" not in unsure
    sure = signals([Says(50.0, 0.0, 0.0, 0.0)], images, (16, 32))
    assert sure["target_entropy"] == pytest.approx(0, abs=1e-6)
    assert sure["target_diversity"] == pytest.approx(1)
    half = signals([Says(0.0, 0.0, -50.0, -50.0)], images, None)
    assert half["target_diversity"] == pytest.approx(2)
    assert half["target_information"] == pytest.approx(0, abs=1e-6)
    assert half["target_entropy"] == pytest.approx(math.log(2) / math.log(4))


class Halves(Says):
    """Sure everywhere: of the first class on the left, of the second on the right."""

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Segmented:
        z = super().forward(x).logits.clone()
        z[:, 1, :, 2:] = 100.0
        return Segmented(z, z)


def test_information_is_of_the_sure_and_the_diverse(tiny_target: str) -> None:
    found = signals([Halves(50.0, 0.0, 0.0, 0.0)], unlabelled(tiny_target), None)
    assert found["target_information"] == pytest.approx(math.log(2) / math.log(4), abs=1e-6)


def test_agreement_is_the_share_of_equal_labels(tiny_target: str) -> None:
    images, one, other = unlabelled(tiny_target), Says(1.0, 0.0), Says(0.0, 1.0)
    assert signals([one, Says(3.0, 0.0)], images, None)["target_agreement"] == 1
    assert signals([one, other], images, None)["target_agreement"] == 0


def test_a_collapse_is_logged_and_warned_of_also_after_a_resume(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said = [8.0, 7.0, 3.9]
    run = Run(source="", target="", out=tmp_path, steps=9, picture_every=1, log_every=9)
    blank = np.zeros((2, 2, 3), np.uint8)

    def watch(step: int) -> None:
        found = {"target_diversity": said[step - 1]}
        monitor = Monitor(run, lambda: blank, signals=lambda: found)
        monitor.resume_at(step - 1)
        with monitor, caplog.at_level(logging.WARNING):
            monitor.after(step, {}, 0.1)

    watch(1)
    watch(2)
    assert not caplog.records
    watch(3)
    assert "step 3: predictions in the target amount to 3.9 classes and were 8.0" in caplog.text
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["target_diversity"] for line in lines] == said
