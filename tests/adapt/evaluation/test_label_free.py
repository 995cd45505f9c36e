"""Signals without labels: each on segmentors whose value is known by hand; their ranks."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

import roadshift
from adapt.data.datasets import unlabelled
from adapt.evaluation.label_free import BETTER, density, label_free, rank_correlation, ranking
from adapt.networks import Segmented, Segmentor


class Says(Segmentor):
    """The same logits for every pixel; with `sided` class 0 left of the middle, class 1 right."""

    align_corners = False

    def __init__(self, *logits: float, sided: bool = False) -> None:
        super().__init__()
        self.says = torch.nn.Parameter(torch.tensor(logits), requires_grad=False)
        self.sided = sided

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Segmented:
        z = self.says[None, :, None, None].expand(len(x), -1, 4, 4).clone()
        if self.sided:
            z[..., 2:] = z[..., 2:].flip(1)
        return Segmented(z, z)


def test_sure_of_one_class_everywhere(tiny_target: str) -> None:
    found = label_free(Says(50.0, 0.0, 0.0, 0.0), unlabelled(tiny_target), (16, 32), 3)
    assert found["entropy"] == pytest.approx(0, abs=1e-6)
    assert found["information"] == pytest.approx(0, abs=1e-6)
    assert found["diversity"] == pytest.approx(1)
    assert found["density"] == pytest.approx(1)  # all alike
    assert found["flip"] == found["scale"] == 1
    assert set(found) == set(BETTER)


def test_sure_of_two_classes_by_side(tiny_target: str) -> None:
    """Each half has another class, wherever the image is mirrored to: the mirror disagrees."""
    found = label_free(Says(50.0, 0.0, sided=True), unlabelled(tiny_target), None, 3)
    assert found["information"] == pytest.approx(1)
    assert found["diversity"] == pytest.approx(2)
    assert found["flip"] == 0
    assert found["scale"] == 1


def test_density_counts_the_neighbours() -> None:
    """Two groups of eight, each pixel alike to the other seven of its own."""
    p = torch.zeros(1, 2, 4, 4)
    p[:, 0, :2], p[:, 1, 2:] = 1, 1
    assert density(p) == pytest.approx(math.log(7) / math.log(15), abs=1e-3)


def test_a_pixel_is_no_neighbour_of_its_own() -> None:
    each_its_class = torch.eye(4).view(1, 4, 2, 2)
    assert density(each_its_class) == pytest.approx(1)  # all others are as far


def test_rank_correlation() -> None:
    assert rank_correlation([1.0, 2.0, 3.0], [10.0, 20.0, 15.0]) == pytest.approx(0.5)
    assert rank_correlation([1.0, 1.0, 2.0], [1.0, 1.0, 5.0]) == pytest.approx(1)
    assert math.isnan(rank_correlation([1.0, 1.0], [1.0, 2.0]))
    rows = [dict.fromkeys(BETTER, value) for value in (0.1, 0.2, 0.3)]
    found = ranking(rows, [30.0, 20.0, 10.0])
    assert found["entropy"] == pytest.approx(1)  # the less the better
    assert found["flip"] == pytest.approx(-1)


def test_the_command_looks_at_every_kept_step(
    tiny_source: str, tiny_target: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out, report = tmp_path / "r", tmp_path / "signals.json"
    train = ["adapt", "source_only", "--source", tiny_source, "--target", tiny_target, "--out"]
    train += [str(out), "--weights", "none", "--batch", "2", "--steps", "3", "--keep-every", "1"]
    study = ["study", "signals", str(out), "--target", tiny_target, "--data", tiny_source]
    for arguments in ([*train, "--workers", "0"], [*study, "--json", str(report)]):
        with pytest.raises(SystemExit) as end:
            roadshift.main(arguments)
        assert not end.value.code
    found = json.loads(report.read_text())
    assert [row["checkpoint"] for row in found["rows"]] == ["1", "2", "3", "last"]
    assert set(found["ranks"]) == {f"checkpoints of {out}"}
    scores = np.array([row["miou"] for row in found["rows"]])
    assert scores[2] == scores[3]  # the third step is the last
    printed = capfd.readouterr().out.replace("\n", " ")
    assert f"{scores[3]:.1f}" in printed
    assert f"{found['ranks'][f'checkpoints of {out}']['flip']:+.2f}" in printed
    with pytest.raises(SystemExit) as end:
        roadshift.main(["study", "signals", "--target", tiny_target])
    assert end.value.code == 2
