"""From a trained run to a student's run folder: the teacher, the target's images, the loop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from adapt import checkpoint, saved_state
from adapt.checkpoint import RunInfo
from adapt.data.datasets import Images, unlabelled
from adapt.data.drawing.draws import make_draws
from adapt.device import make_fabric
from adapt.evaluation.evaluate import Views
from adapt.methods.distillation.distillation import Config, Distillation
from adapt.networks.weights import init_segmentor
from adapt.run import Run, parse_size, uncoloured
from adapt.stages.claim import describe
from adapt.stages.progress_pictures import segmented
from adapt.stages.runner import Stages, Training, decided_by
from adapt.stages.signals import signals
from roadshift import UserError, hxw


def distill(teacher: Path, config: Config, run: Run) -> bool:
    """Train `run.network` into `run.out` as the student of a finished run.

    Where `run` leaves them empty, the target and the size are the teacher's; its source is noted,
    never opened. The same teacher and settings resume a run. Returns whether this process is the
    run's first. Raises UserError for a teacher, settings or data that do not fit, Failure when
    training breaks.
    """
    segmentor, taught, _ = checkpoint.read(teacher)
    size = run.size or (hxw(taught.work_size) if taught.work_size else "")
    run = replace(run, source=taught.source, target=run.target or taught.target, size=size)
    target = _target(run, taught)
    made_of = {
        "target": target.fingerprint,
        "teacher's weights": saved_state.fingerprint(teacher / "last.safetensors"),
    }
    settings = decided_by(run, config) | {"teacher": str(teacher)}
    views = Views(size=parse_size(run.size, "size"))
    fabric = make_fabric(run)

    def make() -> Distillation:
        on_device = segmentor.to(fabric.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        return Distillation(config, run, len(taught.classes), on_device)

    stage = Training(
        name="",
        run=run,
        settings=settings,
        make=make,
        # The student's colours are changed in its step: the teacher sees the crops as they are.
        draws=lambda: make_draws(uncoloured(run), None, target),
        begin=lambda method: init_segmentor(method.segmentor, run.weights),
        picture=lambda method: segmented(method.segmentor, target, views, taught.palette),
        signals=lambda method: signals([method.segmentor, segmentor], target, views.size),
    )
    info = describe("distillation", settings, run, taught, made_of)
    return Stages(replace(info, class_map=taught.class_map), run, fabric, [stage]).run()


def _target(run: Run, taught: RunInfo) -> Images:
    try:
        return unlabelled(run.target, strict=run.strict)
    except UserError as error:
        if run.target != taught.target:
            raise
        raise UserError(
            f"the target that the teacher was trained on does not open here: {error} (or name its "
            "images with --target)"
        ) from error
