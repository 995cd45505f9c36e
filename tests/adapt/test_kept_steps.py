"""--keep-every: the networks of earlier steps stay, to score the curve of a run."""

from pathlib import Path

import pytest
import torch

from adapt import checkpoint
from adapt.cli.evaluate import evaluate
from adapt.methods.source_only import Config, SourceOnly
from adapt.run import Run
from adapt.stages.train import train
from roadshift import UserError


@pytest.fixture(scope="module")
def run(tiny_source: str, tiny_target: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("kept") / "run"
    settings = Run(
        source=tiny_source, target=tiny_target, out=out, weights="none", steps=4, batch=2,
        workers=0, keep_every=2, device="cpu",
    )  # fmt: skip
    train("source_only", SourceOnly, Config(), settings, cities=["source"])
    return out


def test_networks_of_each_kept_step_are_there_without_optimizers(run: Path) -> None:
    kept = sorted(path.name for path in run.glob("step_*.safetensors"))
    assert kept == ["step_000002.safetensors", "step_000004.safetensors"]
    early, late, last = (checkpoint.read(run, which).segmentor for which in ("2", "4", "last"))
    x = torch.rand(1, 3, 32, 64)
    assert torch.equal(late(x).logits, last(x).logits)
    assert not torch.equal(early(x).logits, last(x).logits)
    assert (run / kept[1]).stat().st_size < (run / "last.safetensors").stat().st_size / 2


def test_scores_of_a_kept_step_are_not_the_results(run: Path, tiny_source: str) -> None:
    evaluate(run, data=tiny_source, which="2")
    evaluate(run, data=tiny_source, size="32x64")  # not what is deployed
    assert checkpoint.read(run).info.scores == {}
    assert checkpoint.read(run, "2").info.scores[tiny_source]["checkpoint"] == "2"
    evaluate(run, data=tiny_source)
    found = checkpoint.read(run).info.scores
    assert found[tiny_source]["checkpoint"] == "last"
    evaluate(run, data=tiny_source, scales=(1.0, 1.5), flip=True)  # nor this
    assert checkpoint.read(run).info.scores == found


def test_other_steps_are_refused_with_those_there_are(run: Path, tiny_source: str) -> None:
    with pytest.raises(UserError, match=r"kept no step 3; it has 2, 4"):
        evaluate(run, data=tiny_source, which="3")
    with pytest.raises(UserError, match=r"--checkpoint first: wanted last, best or the number"):
        evaluate(run, data=tiny_source, which="first")
