"""The run of self-training: fixed labels where asked for, then student and teacher."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from adapt import checkpoint, saved_state
from adapt.checkpoint import SavedRun
from adapt.data.cities import open_cities
from adapt.data.datasets import Images
from adapt.data.drawing.batches import Batch, batches
from adapt.data.drawing.draws import Draws, make_draws
from adapt.data.pseudo_labelled import PseudoLabelled
from adapt.device import make_fabric
from adapt.evaluation.evaluate import Views
from adapt.methods.self_training.self_training import Config, SelfTraining
from adapt.networks.segmentor import Segmentor
from adapt.networks.segmentors.fused import Fused
from adapt.pictures.overlay import Palette, Picture, strip
from adapt.run import Run, parse_size
from adapt.stages.claim import describe, fingerprints
from adapt.stages.progress_pictures import rows_of, segmented
from adapt.stages.pseudo_labels import Labelling, label_files, pseudo_labels
from adapt.stages.runner import Stage, Stages, Training, decided_by
from adapt.stages.signals import signals
from roadshift import UserError, hxw

RECIPES = Path(__file__).parent / "recipes"
LABELS = "pseudo_labels"


def train_self_training(config: Config, run: Run, *, shared: Path | None = None) -> bool:
    """Train into `run.out`; whether this is process 0.

    Raises UserError for settings, data or a teacher that do not fit, Failure when training breaks.
    """
    if run.select_on:
        raise UserError("self_training keeps no best checkpoint: leave out --select-on")
    source, target = open_cities(run)
    crop = make_draws(run, source, target).crop
    if config.w_mask and min(crop) < config.mask_block:
        raise UserError(
            f"--mask-block {config.mask_block} does not fit into crops of {hxw(crop)}: give a "
            "smaller block, a larger --crop, or --w-mask 0"
        )
    taught_by = [_read(Path(r), run, source.classes) for r in config.labels_from]
    start = _read(Path(config.teacher), run, source.classes, same=True) if config.teacher else None
    fabric, size = make_fabric(run), parse_size(run.size, "size")
    settings = decided_by(run, config)
    made_of = fingerprints(source, target)
    for name in filter(None, (config.teacher, *config.labels_from)):
        made_of[f"weights of {name}"] = saved_state.fingerprint(Path(name) / "last.safetensors")

    def teachers() -> Segmentor:
        nets = [saved.segmentor for saved in taught_by]
        net = nets[0] if len(nets) == 1 else Fused(nets)
        return net.to(fabric.device).eval()

    def draws() -> Draws:
        files = label_files(stages.folder(LABELS), len(target)) if taught_by else None
        labelled = PseudoLabelled(target, files) if files else target
        return make_draws(run, source, labelled, strong=True)

    def begin(method: SelfTraining) -> None:
        method.begin("none" if start else run.weights)
        if start:
            for network in (method.G, method.teacher):
                network.load_state_dict(start.segmentor.state_dict())

    labelling = Labelling(
        segmentor=teachers, images=lambda: target, size=size, classes=source.classes,
        palette=source.palette,
    )  # fmt: skip
    training = Training(
        name="",
        run=run,
        settings=settings,
        needs=(LABELS,) if taught_by else (),
        make=lambda: SelfTraining(config, run, source.classes),
        draws=draws,
        begin=begin,
        picture=lambda method: picture(method, draws(), run, target, source.palette),
        signals=lambda method: signals([method.teacher, method.G], target, size),
    )
    made: list[Stage] = [pseudo_labels(LABELS, labelling, needs=())] if taught_by else []
    info = describe("self_training", settings, run, source, made_of)
    stages = Stages(info, run, fabric, [*made, training], shared)
    return stages.run()


def picture(
    method: SelfTraining, draws: Draws, run: Run, target: Images, palette: Palette
) -> Picture:
    """What the student is shown, and what the result makes of whole target images.

    Rows of: target crop | the teacher's labels | their weights (white: 1 or more) | mixed image |
    its labels; then rows of image | overlay.
    """
    device = next(method.G.parameters()).device
    batch = next(batches(draws, replace(run, batch=4, devices=1, workers=0), start=0, rank=0))
    with torch.random.fork_rng():
        shown = lessons_shown(method, batch.to(device), palette)
    below = segmented(method.segmentor, target, Views(size=parse_size(run.size, "size")), palette)
    width = max(shown.shape[1], below.shape[1])
    wide = [np.pad(x, ((0, 0), (0, width - x.shape[1]), (0, 0))) for x in (shown, below)]
    return np.concatenate(wide)


def lessons_shown(method: SelfTraining, batch: Batch, palette: Palette) -> Picture:
    """The upper rows of `picture`, an image of the batch each."""
    opinion, lesson = method.lessons(batch, looking=True)

    def row(i: int) -> Picture:
        x_t, mixed = _bytes(batch.x_t[i]), _bytes(lesson.x[i])
        labels, lesson_y = opinion.y[i].cpu().numpy(), lesson.y[i].cpu().numpy()
        weight = (opinion.w[i].clamp(0, 1) * 255).byte().cpu().numpy()
        grey = np.repeat(weight[..., None], 3, 2)
        return np.concatenate(
            [strip(x_t, [labels], palette), grey, strip(mixed, [lesson_y], palette)], 1
        )

    return rows_of(len(batch.x_t), row)


def _bytes(x: torch.Tensor) -> Picture:
    return (x * 255).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()


def _read(path: Path, run: Run, classes: tuple[str, ...], *, same: bool = False) -> SavedRun:
    """A finished run of these classes, with `same` also of the run's network."""
    saved = checkpoint.read(path)
    if saved.info.classes != classes:
        raise UserError(
            f"{path} was trained for the classes {', '.join(saved.info.classes)}, this run has "
            f"{', '.join(classes)}; give --classes, or another run"
        )
    if same and saved.info.network != run.network:
        raise UserError(
            f"--teacher {path} is a {saved.info.network} and the student a {run.network}; give a "
            f"run of that network, or --network {saved.info.network}"
        )
    if same and set(saved.info.parts) != {"segmentor"}:
        raise UserError(
            f"--teacher {path} has the parts {', '.join(saved.info.parts)}; wanted a segmentor "
            "alone (distill it first)"
        )
    return saved
