"""What a run leaves to look at: progress, metrics as JSON lines and TensorBoard, pictures."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import UInt8
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard.writer import SummaryWriter

from adapt.game import Losses
from adapt.pictures.overlay import write_png
from adapt.run import Run
from roadshift import replacing

log = logging.getLogger(__name__)
COLLAPSED = 0.5
"""of the greatest diversity so far, under which a run warns"""


class Monitor:
    """Watches one run from one process; writes into the run's folder only."""

    def __init__(
        self,
        run: Run,
        picture: Callable[[], UInt8[np.ndarray, "h w 3"]],
        select: Callable[[], float] | None = None,
        signals: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        """`picture` draws what the run can do now.

        `select` scores it on labelled target images or by a label-free signal, the more the better;
        `signals` are what can be told of it without a label (adapt/stages/signals.py).
        """
        self.run, self.picture, self.select, self.signals = run, picture, select, signals
        self.selected = "select_miou" if run.select_on else f"select_{run.keep_best_by}"
        self.best, self.most_diverse = -math.inf, 0.0
        self.begun = time.monotonic()
        self.board: SummaryWriter | None = None
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
        )

    def __enter__(self) -> Monitor:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()
        if self.board:
            self.board.close()

    def resume_at(self, step: int) -> None:
        """Forget what was logged after `step`: it is about to happen again."""
        path = self.run.out / "metrics.jsonl"
        lines = [json.loads(t) for t in path.read_text().splitlines()] if path.is_file() else []
        kept = [line for line in lines if line["step"] <= step]
        with replacing(path) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in kept))
        spent = max((line.get("seconds", 0.0) for line in kept), default=0.0)
        self.begun = time.monotonic() - spent
        self.best = max((line.get(self.selected, -math.inf) for line in kept), default=-math.inf)
        self.most_diverse = max((line.get("target_diversity", 0.0) for line in kept), default=0.0)
        self.board = SummaryWriter(str(self.run.out / "tensorboard"), purge_step=step + 1)
        self.progress.add_task("starting", total=self.run.steps, completed=step, speed="")

    def after(self, step: int, losses: Losses, lr: float) -> None:
        """Show, log and picture what is due after `step`."""
        final = step == self.run.steps
        task = self.progress.tasks[0]
        speed = f"{task.speed:.2f} steps/s" if task.speed else ""
        self.progress.update(task.id, completed=step, speed=speed)
        logged: dict[str, float] = {}
        if step % self.run.log_every == 0 or final:
            values = {name: float(loss) for name, loss in losses.items()}
            text = "  ".join(f"{name} {value:.3f}" for name, value in values.items())
            self.progress.update(task.id, description=f"{self.run.out.name}: {text}")
            logged |= {"lr": lr, **{f"loss_{k}": v for k, v in values.items()}}
        if step % self.run.picture_every == 0 or final:
            write_png(self.run.out / "pictures" / f"{step:06d}.png", self.picture())
            logged |= self.signals()
        if logged:
            self._log(step, logged)
            self._warn_of_collapse(step, logged.get("target_diversity"))

    def is_best(self, step: int) -> bool:
        """Whether this is the best so far by what the run selects on, if it does."""
        if self.select is None:
            return False
        score = self.select()
        self._log(step, {self.selected: score})
        better, self.best = score > self.best, max(score, self.best)
        return better

    def _warn_of_collapse(self, step: int, diversity: float | None) -> None:
        if diversity is None:
            return
        if diversity < COLLAPSED * self.most_diverse:
            log.warning(
                "%s, step %d: predictions in the target amount to %.1f classes and were %.1f "
                "before; look at %s, and stop the run if classes are gone",
                *(self.run.out, step, diversity, self.most_diverse, self.run.out / "pictures"),
            )
        self.most_diverse = max(self.most_diverse, diversity)

    def _log(self, step: int, values: Mapping[str, Any]) -> None:
        with (self.run.out / "metrics.jsonl").open("a") as file:
            seconds = round(time.monotonic() - self.begun, 3)
            file.write(json.dumps({"step": step, "seconds": seconds, **values}) + "\n")
        if self.board:
            for name, value in values.items():
                self.board.add_scalar(name, value, step)
            self.board.flush()
