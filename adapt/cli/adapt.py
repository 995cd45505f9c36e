"""`roadshift adapt METHOD`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

from cyclopts import App, Parameter
from rich import print as show

from adapt.methods import output_adversary as oa
from adapt.methods import source_only as so
from adapt.methods.feature_to_image.feature_to_image import Config as FeatureToImageConfig
from adapt.methods.feature_to_image.stages import RECIPES as COMPONENTS
from adapt.methods.feature_to_image.stages import train_feature_to_image
from adapt.methods.intra_domain.config import RECIPES as INTRA_TABLES
from adapt.methods.intra_domain.config import Config as IntraDomainConfig
from adapt.methods.intra_domain.separating import table as separation_table
from adapt.methods.intra_domain.stages import train_intra_domain
from adapt.methods.ldr.config import RECIPES
from adapt.methods.ldr.config import Config as LDRConfig
from adapt.methods.ldr.stages import train_ldr
from adapt.methods.pivot.config import RECIPES as PIVOT_TABLES
from adapt.methods.pivot.config import Config as PivotConfig
from adapt.methods.pivot.stages import train_pivot
from adapt.methods.self_training.self_training import Config as SelfTrainingConfig
from adapt.methods.self_training.stages import RECIPES as PARTS
from adapt.methods.self_training.stages import train_self_training
from adapt.methods.symmetric.config import RECIPES as SYMMETRIC_RECIPES
from adapt.methods.symmetric.config import Config as SymmetricConfig
from adapt.methods.symmetric.stages import train_symmetric
from adapt.run import Run
from adapt.stages.ablation import Train, read_recipe, run_ablation
from adapt.stages.ablation import table as ablation_table
from adapt.stages.train import train
from roadshift import UserError

T = TypeVar("T")
Flat = Annotated[T, Parameter(name="*")]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """A table in place of one run."""

    ablation: str = ""
    """run a table's rows, each under --out, and print it: its name in adapt/methods/METHOD/recipes,
    or a TOML file like those"""
    scored_on: str = ""
    """for --ablation: labelled images that each finished row is scored on"""


@dataclass(frozen=True, kw_only=True)
class Stage(Rows):
    """One stage of the method in place of all, or a table."""

    stage: str = ""
    """run this stage alone; its folder's name"""


app = App(name="adapt", help="Train a segmentor on one city for another; one command a method.")


@app.command(name="source_only")
def source_only(run: Flat[Run], config: Flat[so.Config] = so.Config()) -> None:
    """Train on the labelled source alone: the baseline (on the target's labels, the oracle)."""
    _done(run, train("source_only", so.SourceOnly, config, run, cities=["source"]))


@app.command(name="output_adversary")
def output_adversary(run: Flat[Run], config: Flat[oa.Config] = oa.Config()) -> None:
    """Align the outputs of both cities by discriminators (AdaptSegNet, AdvEnt)."""
    _done(run, train("output_adversary", oa.OutputAdversary, config, run))


@app.command(name="self_training")
def self_training(
    run: Flat[Run],
    config: Flat[SelfTrainingConfig] = SelfTrainingConfig(),
    rows: Flat[Rows] = Rows(),
) -> None:
    """Learn the target from one's own moving average (DACS, DAFormer, MIC)."""
    _train(train_self_training, run, config, rows, PARTS)


@app.command(name="ldr")
def ldr(run: Flat[Run], config: Flat[LDRConfig] = LDRConfig(), rows: Flat[Stage] = Stage()) -> None:
    """Translate the target, rebuild images from predicted labels (Yang et al., 2020).

    Stages: translate, pretrain, joint0, pseudo_labels1, joint1, ...
    """
    _train(partial(train_ldr, stage=rows.stage), run, config, rows, RECIPES)


@app.command(name="feature_to_image")
def feature_to_image(
    run: Flat[Run],
    config: Flat[FeatureToImageConfig] = FeatureToImageConfig(),
    rows: Flat[Rows] = Rows(),
) -> None:
    """Redraw images from features; what is drawn must pass for the other city (LSD, 2018)."""
    _train(train_feature_to_image, run, config, rows, COMPONENTS)


@app.command(name="intra_domain")
def intra_domain(
    run: Flat[Run],
    config: Flat[IntraDomainConfig] = IntraDomainConfig(),
    rows: Flat[Stage] = Stage(),
) -> None:
    """Within the target, from pixels that are easy to those that are hard (PixIntraDA, 2021).

    Stages: inter, separation0, intra0, separation1, intra1, ...
    """
    train_one = partial(train_intra_domain, stage=rows.stage)
    trained = _train(train_one, run, config, rows, INTRA_TABLES)
    if trained and (parted := separation_table(run.out)):
        show(parted)


@app.command(name="pivot")
def pivot(
    run: Flat[Run], config: Flat[PivotConfig] = PivotConfig(), rows: Flat[Rows] = Rows()
) -> None:
    """Learn pixels of the target from how much of each class its images hold (PIT, 2020)."""
    _train(train_pivot, run, config, rows, PIVOT_TABLES)


@app.command(name="symmetric")
def symmetric(
    run: Flat[Run],
    config: Flat[SymmetricConfig] = SymmetricConfig(),
    rows: Flat[Stage] = Stage(),
) -> None:
    """Two segmentors with adversaries in opposite directions teach what they agree on.

    Stages: translate, adapt0, pseudo_labels1, adapt1, ...
    """
    _train(partial(train_symmetric, stage=rows.stage), run, config, rows, SYMMETRIC_RECIPES)


def _train(train: Train, run: Run, config: Any, rows: Rows, recipes: Path) -> bool:
    """All of a run, one stage of it, or the rows of a table; whether a run, by process 0."""
    if not rows.ablation:
        first = train(config, run, shared=None)
        _done(run, first)
        return first
    one_stage = isinstance(rows, Stage) and rows.stage
    if one_stage or not rows.scored_on:
        raise UserError(
            "--ablation runs all stages of its rows and scores them: give --scored-on with "
            "labelled images, and no --stage"
        )
    recipe = read_recipe(rows.ablation, recipes, type(config))
    if found := run_ablation(recipe, train, config, run, rows.scored_on):
        show(ablation_table(recipe, found))
    return False


def _done(run: Run, first: bool) -> None:
    if not first:
        return
    if not (run.out / "last.safetensors").is_file():
        print(f"this stage is done: {run.out}; the same command without --stage goes on")
        return
    print(f"trained: {run.out}")
    print(f"next: roadshift evaluate {run.out} --data SPEC")
    print(f"      roadshift export {run.out} --out BUNDLE")
