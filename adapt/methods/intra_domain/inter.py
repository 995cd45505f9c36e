"""What the stage inter trains, from what; or the finished run that takes its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adapt import checkpoint, saved_state
from adapt.checkpoint import SavedRun
from adapt.data.datasets import LabelledImages
from adapt.methods import output_adversary, source_only
from adapt.methods.intra_domain.config import Config
from adapt.methods.self_training import self_training
from adapt.networks.weights import init_segmentor
from adapt.run import Run, parse_size
from adapt.stages.made import DONE
from adapt.stages.translated_images import translated_labelled
from roadshift import UserError, hxw

DRAWN = Path("translate/source_as_target")


def settings_of(config: Config, run: Run) -> Any:
    """The stage's own numbers: its method's defaults, discriminators as wide as the later ones."""
    if config.inter_method == "output_adversary":
        return output_adversary.Config(width_d=config.width_d)
    if config.inter_method == "source_only":
        return source_only.Config()
    # An untrained teacher teaches nothing: first the source alone.
    return self_training.Config(warm_up=run.steps // 4)


def game(own: Any, run: Run, classes: tuple[str, ...]) -> Any:
    """The method of these settings."""
    if isinstance(own, output_adversary.Config):
        return output_adversary.OutputAdversary(own, run, len(classes))
    if isinstance(own, source_only.Config):
        return source_only.SourceOnly(own, run, len(classes))
    return self_training.SelfTraining(own, run, classes)


def begin(method: Any, weights: str) -> None:
    """Fill its networks before the first step; a teacher begins as its student."""
    if isinstance(method, self_training.SelfTraining):
        method.begin(weights)
    else:
        init_segmentor(method.segmentor, weights)


def read_inter(config: Config, run: Run, classes: tuple[str, ...]) -> SavedRun:
    """The run of --inter; UserError where it is not finished, or of other classes or size."""
    path = Path(config.inter)
    saved = checkpoint.read(path)
    info, size = saved.info, parse_size(run.size, "size")
    if info.classes != classes:
        raise UserError(
            f"--inter {path} was trained for the classes {', '.join(info.classes)}, this run has "
            f"{', '.join(classes)}; give --classes, or another run"
        )
    # Methods of rounds count the steps of all of them.
    wanted = info.steps * int(info.settings.get("rounds", 1))
    if (done := saved_state.step_of(path)) < wanted:
        raise UserError(
            f"--inter {path} is at step {done} of {wanted}: let the same command finish it"
        )
    if info.work_size != size:
        was, now = (hxw(s) if s else "the images' own" for s in (info.work_size, size))
        raise UserError(
            f"--inter {path} was trained at the size {was}, this run has {now}; give its --size, "
            "or another run"
        )
    whole = set(info.parts) == {"segmentor"} and info.network == run.network
    if config.start == "inter" and not whole:
        raise UserError(
            f"--inter {path} is a {info.network} of the parts {', '.join(info.parts)}, and G a "
            f"{run.network}, which cannot begin from it: give --start weights"
        )
    return saved


def read_drawn(run: Path, source: LabelledImages) -> LabelledImages:
    """The source as another run drew it; UserError where it is not finished, or another source."""
    folder = run / DRAWN
    if not (folder / DONE).is_file():
        count = len(list((folder / "images").glob("*.png")))
        raise UserError(
            f"--drawn-by {run}: {folder} holds {count} drawn images and is not finished; give a "
            "run of ldr --direction source_to_target, or of symmetric, on this source"
        )
    info = checkpoint.read_info(run)
    if info.fingerprints.get("source") != source.fingerprint or info.classes != source.classes:
        raise UserError(
            f"--drawn-by {run} drew another source ({info.source}, for the classes "
            f"{', '.join(info.classes)}); give this run's --source and --classes"
        )
    return translated_labelled(source, folder)
