"""Self-training: a student learns the target from the labels of its own moving average.

Tranheden et al., "DACS", WACV 2021 (class mix, the share as weight); Hoyer et al., "DAFormer", CVPR
2022 (moving average, feature distance; rare-class sampling is --sample-rare) and "MIC", CVPR 2023
(masked images). With the teacher's label y and weight w of every pixel, and M the pasted classes:

    L = CE(G(x_s), y_s) + w_target * mean(w_M * CE(G(M x_s + (1 - M) x_t), M y_s + (1 - M) y))
        + w_mask * mean(w * CE(G(masked x_t), y)) + w_features * |features - ImageNet's features|

    teacher <- ema * teacher + (1 - ema) * student

The schedule, the networks and the balanced weights are this project's.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from adapt import bounds
from adapt.data.classes import IGNORE
from adapt.data.drawing.batches import Batch
from adapt.game import Game, Losses
from adapt.losses import cross_entropy, weighted_cross_entropy
from adapt.methods.self_training.mixing import Lesson, class_mix, masked
from adapt.methods.self_training.teacher import Balance, Opinion, follow, share_of_confident
from adapt.networks import Segmented, Segmentor, build
from adapt.networks.both_cities import TargetNorm, pass_both, running_statistics
from adapt.networks.upsampling import full_size
from adapt.networks.weights import init_segmentor
from adapt.optimizers import segmentor_optimizer
from adapt.run import Run
from roadshift import UserError

THINGS = frozenset(
    "traffic light,traffic sign,person,rider,car,truck,bus,train,motorcycle,bicycle".split(",")
)
"""Classes of things one can count, with poles left out, as DAFormer chose them."""
WHOLE_CELL = 0.75
"""of a feature's cell that must be of things"""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Every part is a switch; `--ablation parts` takes each one out."""

    teacher: str = ""
    """a finished run of the same network and classes, from which both begin; "": the weights"""
    warm_up: int = 0
    """first steps, on the source alone"""
    ema: float = 0.99
    """of the teacher that is kept in each step, less in the first ones (1 - 1 / step)"""
    labels: Literal["balanced", "share", "fixed"] = "balanced"
    """weights and thresholds by class; DACS's share of confident pixels; those of --labels-from"""
    labels_from: tuple[str, ...] = ()
    """for fixed: finished runs, whose mean probabilities give the target its labels once"""
    label_scales: tuple[float, ...] = (1.0,)
    """for fixed: of --size; the mean over all of them labels the target"""
    label_flip: bool = False
    """for fixed: and over the mirrored images"""
    threshold: float = 0.968
    """for share: confidence from which a pixel counts as confident"""
    floor: float = 0.7
    """for balanced: the least confidence that counts, whatever the class's median"""
    floor_things: float = 0.3
    """the same for what one can count (persons, cars, signs): small, so much of it is border; with
    0.7 hardly a person is taught (camvid -> cityscapes_small: bench/NOTES.md)"""
    mix: bool = True
    """paste half of the classes of a source image on the target's"""
    w_target: float = 1.0
    w_mask: float = 0.0
    """of a third pass, over target images with blocks left out, by the running statistics"""
    mask_share: float = 0.7
    mask_block: int = 32
    """pixels of a block's side"""
    w_features: float = 0.0
    """of the distance to the ImageNet backbone's features, on the source's things"""
    w_aux: float = 0.1
    """of the auxiliary outputs"""
    target_norm: TargetNorm = "source"
    """which statistics the target's batch norms use in training"""
    deploy: Literal["teacher", "student"] = "teacher"
    """the result: the average is steadier than its last step"""

    def __post_init__(self) -> None:
        bounds.shares(self, "ema", "threshold", "floor", "floor_things", "mask_share")
        bounds.factors(self, "label_scales")
        if self.warm_up < 0 or self.mask_block < 1:
            raise UserError(
                f"--warm-up {self.warm_up}, --mask-block {self.mask_block}: wanted steps from 0 on "
                "and a block of at least one pixel"
            )
        if (self.labels == "fixed") != bool(self.labels_from):
            raise UserError("--labels fixed and --labels-from RUN... go together: give both")
        if not self.labels_from and (self.label_flip or self.label_scales != (1.0,)):
            raise UserError("--label-scales and --label-flip are for --labels fixed")


class SelfTraining:
    """G is the student, its teacher the average of it, which labels the target."""

    def __init__(self, config: Config, run: Run, classes: tuple[str, ...]) -> None:
        self.config = config
        self.G = build(run.network, len(classes))
        self.teacher = build(run.network, len(classes)).requires_grad_(False)
        self.things = torch.tensor([name in THINGS for name in classes])
        floors = torch.where(self.things, config.floor_things, config.floor)
        self.balance = Balance(floors)
        self.segmentor = self.teacher if config.deploy == "teacher" else self.G
        self.imagenet = frozen_backbone(self.G, run.weights) if config.w_features else None
        self.game = Game(G=segmentor_optimizer(self.G, run))
        names = {"teacher": ("student", "segmentor"), "student": ("segmentor", "teacher")}
        student, teacher = names[config.deploy]
        self.clock = Clock()
        networks = {student: self.G, teacher: self.teacher}
        more = {"balance": self.balance, "clock": self.clock}
        self.state = {**networks, **more, **self.game.state()}

    def begin(self, weights: str) -> None:
        """Student and teacher from the same weights, before the first step."""
        init_segmentor(self.G, weights)
        self.teacher.load_state_dict(self.G.state_dict())

    def step(self, batch: Batch) -> Losses:
        """Source, mixed target, masked target; then the teacher follows."""
        t, w = self.clock.tick(), self.config
        x_s, y_s = batch.x_s, batch.y_s
        if t < w.warm_up:
            out_s, losses = self.G(x_s), Losses()
        else:
            out_s, losses = self._taught(batch)
        losses["source"] = self._source_loss(out_s, y_s)
        if self.imagenet is not None:
            losses["features"] = w.w_features * self._feature_distance(out_s, x_s, y_s)
        moved = self.game.play(G=torch.stack(list(losses.values())).sum())
        since = t - w.warm_up  # until then the teacher is the student
        follow(self.teacher, self.G, min(1 - 1 / (since + 2), w.ema) if since >= 0 else 0.0)
        return moved | {name: loss.detach() for name, loss in losses.items()}

    def lessons(self, batch: Batch, *, looking: bool = False) -> tuple[Opinion, Lesson]:
        """The teacher's opinion of the target crops, and what the student is shown of them.

        `looking` counts nothing and asks no other process: for pictures.
        """
        opinion = self._opinion(batch, looking)
        x_t = batch.x_t_strong if batch.x_t_strong.numel() else batch.x_t
        lesson = Lesson(x_t, opinion.y, opinion.w)
        if self.config.mix:
            whole = torch.ones_like(opinion.w)
            lesson = class_mix(Lesson(batch.x_s, batch.y_s, whole), lesson)
        return opinion, lesson

    def _taught(self, batch: Batch) -> tuple[Segmented, Losses]:
        """What the student makes of the source, and its losses on what the teacher labelled."""
        w = self.config
        opinion, lesson = self.lessons(batch)
        out_s, out_t = pass_both(self.G, batch.x_s, lesson.x, w.target_norm)
        losses = {"target": w.w_target * self._lesson_loss(out_t, lesson)}
        if w.w_mask:
            x = batch.x_t_strong if batch.x_t_strong.numel() else batch.x_t
            hidden = Lesson(masked(x, w.mask_share, w.mask_block), opinion.y, opinion.w)
            with running_statistics(self.G):
                losses["masked"] = w.w_mask * self._lesson_loss(self.G(hidden.x), hidden)
        return out_s, losses

    @torch.no_grad()
    def _opinion(self, batch: Batch, looking: bool) -> Opinion:
        if self.config.labels == "fixed":
            y = batch.y_t
            sure = (y != IGNORE).float()
            return Opinion(y, sure, sure)
        self.teacher.eval()
        z = self.teacher(batch.x_t).logits.float()
        p = full_size(z, (batch.x_t.shape[2], batch.x_t.shape[3]), self.G.align_corners).softmax(1)
        if self.config.labels == "share":
            return share_of_confident(p, self.config.threshold, alone=looking)
        return self.balance.judge(p) if looking else self.balance(p)

    def _source_loss(self, out: Segmented, y: Tensor) -> Tensor:
        size, corners = (y.shape[1], y.shape[2]), self.G.align_corners
        z, aux = (full_size(z, size, corners) for z in out.heads)
        return cross_entropy(z, y) + self.config.w_aux * cross_entropy(aux, y)

    def _lesson_loss(self, out: Segmented, lesson: Lesson) -> Tensor:
        size, corners = (lesson.y.shape[1], lesson.y.shape[2]), self.G.align_corners
        z, aux = (full_size(z, size, corners) for z in out.heads)
        y, w = lesson.y, lesson.w
        main = weighted_cross_entropy(z, y, w)
        return main + self.config.w_aux * weighted_cross_entropy(aux, y, w)

    def _feature_distance(self, out: Segmented, x: Tensor, y: Tensor) -> Tensor:
        """Mean over the cells of the last stage that are things' (by WHOLE_CELL); 0 without any."""
        assert self.imagenet is not None
        features = out.features
        with torch.no_grad():
            before = self.imagenet.eval()(x).features
        things = self.things.to(y.device)
        inside = (things[y.long().clamp(max=len(things) - 1)] & (y != IGNORE)).float()[:, None]
        size = (features.shape[2], features.shape[3])
        cells = interpolate(inside, size=size, mode="area")[:, 0] >= WHOLE_CELL
        distance = (features - before).float().square().sum(1).clamp(min=1e-12).sqrt()
        return (distance * cells).sum() / cells.sum().clamp(min=1)


class Clock(torch.nn.Module):
    """Steps made so far; a module, so that a resumed run knows."""

    steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def tick(self) -> int:
        """The number of the step that begins, from 0."""
        now = int(self.steps)
        self.steps += 1
        return now


def frozen_backbone(like: Segmentor, weights: str) -> Segmentor:
    """A copy with the weights it starts from, that nothing moves and no checkpoint holds."""
    if weights == "none":
        raise UserError("--w-features needs the ImageNet backbone: give --weights")
    frozen = copy.deepcopy(like).requires_grad_(False)
    init_segmentor(frozen, weights)
    return frozen
