"""`roadshift adapt METHOD`."""

from __future__ import annotations

from typing import Annotated, TypeVar

from cyclopts import App, Parameter
from rich import print as show

from adapt.methods import output_adversary as oa
from adapt.methods import source_only as so
from adapt.methods.feature_to_image.feature_to_image import Config as FeatureToImageConfig
from adapt.methods.feature_to_image.stages import RECIPES as COMPONENTS
from adapt.methods.feature_to_image.stages import train_feature_to_image
from adapt.methods.intra_domain.config import RECIPES as INTRA_TABLES
from adapt.methods.intra_domain.config import Config as IntraDomainConfig
from adapt.methods.intra_domain.stages import train_intra_domain
from adapt.methods.ldr.config import RECIPES
from adapt.methods.ldr.config import Config as LDRConfig
from adapt.methods.ldr.stages import train_ldr
from adapt.methods.self_training.self_training import Config as SelfTrainingConfig
from adapt.methods.self_training.stages import RECIPES as PARTS
from adapt.methods.self_training.stages import train_self_training
from adapt.methods.symmetric.config import RECIPES as SYMMETRIC_RECIPES
from adapt.methods.symmetric.config import Config as SymmetricConfig
from adapt.methods.symmetric.stages import train_symmetric
from adapt.run import Run
from adapt.stages.ablation import AblationTable, Train, read_recipe, run_ablation
from adapt.stages.ablation import table as ablation_table
from adapt.stages.train import train
from roadshift import UserError

T = TypeVar("T")
Flat = Annotated[T, Parameter(name="*")]

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
    *,
    ablation: str = "",
    scored_on: str = "",
) -> None:
    """Learn the target from one's own moving average (DACS, DAFormer, MIC).

    Parameters
    ----------
    ablation
        run the rows of a table instead, each under --out, and print it: parts, or a TOML file like
        adapt/methods/self_training/recipes/parts.toml
    scored_on
        for --ablation: labelled images that each finished row is scored on
    """
    if not ablation:
        _done(run, train_self_training(config, run))
        return
    if not scored_on:
        raise UserError("--ablation scores its rows: give --scored-on with labelled images")
    _rows(
        read_recipe(ablation, PARTS, SelfTrainingConfig),
        train_self_training,
        config,
        run,
        scored_on,
    )


@app.command(name="ldr")
def ldr(
    run: Flat[Run],
    config: Flat[LDRConfig] = LDRConfig(),
    *,
    stage: str = "",
    ablation: str = "",
    scored_on: str = "",
) -> None:
    """Translate the target, rebuild images from predicted labels (Yang et al., 2020).

    Parameters
    ----------
    stage
        run this stage alone: translate, pretrain, joint0, pseudo_labels1, joint1, ...
    ablation
        run the rows of a table instead, each under --out, and print it: table3 ... table6 of the
        paper, or a TOML file like those in adapt/methods/ldr/recipes
    scored_on
        for --ablation: labelled images that each finished row is scored on
    """
    if not ablation:
        _done(run, train_ldr(config, run, stage=stage))
        return
    _whole_rows(stage, scored_on)
    _rows(read_recipe(ablation, RECIPES, LDRConfig), train_ldr, config, run, scored_on)


@app.command(name="feature_to_image")
def feature_to_image(
    run: Flat[Run],
    config: Flat[FeatureToImageConfig] = FeatureToImageConfig(),
    *,
    ablation: str = "",
    scored_on: str = "",
) -> None:
    """Redraw images from features; what is drawn must pass for the other city (LSD, 2018).

    Parameters
    ----------
    ablation
        run the rows of a table instead, each under --out, and print it: table4 of the paper, or a
        TOML file like it in adapt/methods/feature_to_image/recipes
    scored_on
        for --ablation: labelled images that each finished row is scored on
    """
    if not ablation:
        _done(run, train_feature_to_image(config, run))
        return
    if not scored_on:
        raise UserError("--ablation scores its rows: give --scored-on with labelled images")
    recipe = read_recipe(ablation, COMPONENTS, FeatureToImageConfig)
    _rows(recipe, train_feature_to_image, config, run, scored_on)


@app.command(name="intra_domain")
def intra_domain(
    run: Flat[Run],
    config: Flat[IntraDomainConfig] = IntraDomainConfig(),
    *,
    stage: str = "",
    ablation: str = "",
    scored_on: str = "",
) -> None:
    """Within the target, from pixels that are easy to those that are hard (PixIntraDA, 2021).

    Parameters
    ----------
    stage
        run this stage alone: inter, separation0, intra0, separation1, intra1, ...
    ablation
        run the rows of a table instead, each under --out, and print it: table3 ... table6 of the
        paper, beta, or a TOML file like those in adapt/methods/intra_domain/recipes
    scored_on
        for --ablation: labelled images that each finished row is scored on
    """
    if not ablation:
        _done(run, train_intra_domain(config, run, stage=stage))
        return
    _whole_rows(stage, scored_on)
    recipe = read_recipe(ablation, INTRA_TABLES, IntraDomainConfig)
    _rows(recipe, train_intra_domain, config, run, scored_on)


@app.command(name="symmetric")
def symmetric(
    run: Flat[Run],
    config: Flat[SymmetricConfig] = SymmetricConfig(),
    *,
    stage: str = "",
    ablation: str = "",
    scored_on: str = "",
) -> None:
    """Two segmentors with adversaries in opposite directions teach what they agree on.

    Parameters
    ----------
    stage
        run this stage alone: translate, adapt0, pseudo_labels1, adapt1, ...
    ablation
        run the rows of a table instead, each under --out, and print it: parts, or a TOML file like
        adapt/methods/symmetric/recipes/parts.toml
    scored_on
        for --ablation: labelled images that each finished row is scored on
    """
    if not ablation:
        _done(run, train_symmetric(config, run, stage=stage))
        return
    _whole_rows(stage, scored_on)
    recipe = read_recipe(ablation, SYMMETRIC_RECIPES, SymmetricConfig)
    _rows(recipe, train_symmetric, config, run, scored_on)


def _whole_rows(stage: str, scored_on: str) -> None:
    if stage or not scored_on:
        raise UserError(
            "--ablation runs all stages of its rows and scores them: give --scored-on with "
            "labelled images, and no --stage"
        )


def _rows(recipe: AblationTable, train: Train, config: object, run: Run, scored_on: str) -> None:
    if rows := run_ablation(recipe, train, config, run, scored_on):
        show(ablation_table(recipe, rows))


def _done(run: Run, first: bool) -> None:
    if not first:
        return
    print(f"trained: {run.out}")
    print(f"next: roadshift evaluate {run.out} --data SPEC")
    print(f"      roadshift export {run.out} --out BUNDLE")
