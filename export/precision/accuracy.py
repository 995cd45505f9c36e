"""What a graph of lower precision loses against float32, quickly enough to try many of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import onnx
import torch

from adapt.evaluation.evaluate import Confusion, Scores
from export.bundle.graphs import SEGMENTOR
from export.frames import Frame, Frames, Pixels
from export.precision.budget import Measured
from export.verification.comparison import class_change, class_drop
from export.verification.cpu_session import CpuSession
from serve.runtime.exact_labels.labels import labels_at
from serve.runtime.rewrites.int8_on_cpu import for_cpu
from serve.runtime.rewrites.prune import prune

RUNS = 7


class LabelJudge:
    """Compares labels with the float32 graph's, frame by frame; holds one label map a frame.

    `frames` decide whether a budget holds; where they have labels, mIoU is known as well.
    `unlabelled` are target frames on which single groups of layers are compared.
    """

    def __init__(
        self,
        fp32: onnx.ModelProto,
        frames: Frames,
        unlabelled: Frames,
        classes: tuple[str, ...],
        align_corners: bool,
    ) -> None:
        self.frames, self.unlabelled, self.classes = frames, unlabelled, classes
        self.align_corners = align_corners
        session = _session(fp32)
        self._wanted = list(self._labels(session, frames))
        self._wanted_unlabelled = list(self._labels(session, unlabelled))
        self.before = self._scores(self._wanted)

    def __call__(self, model: onnx.ModelProto) -> Measured:
        """Agreement and, with labels, scores of the graph in the form in which a server runs it on
        this CPU; and the network's time there."""
        return self._measured(for_cpu(model))

    def as_written(self, model: onnx.ModelProto) -> Measured:
        """The same of the graph as its file has it: what other runtimes make of it."""
        return self._measured(model)

    def _measured(self, model: onnx.ModelProto) -> Measured:
        session = _session(model)
        found = list(self._labels(session, self.frames))
        after = self._scores(found)
        drop, _ = class_drop(self.before, after)
        between = Confusion(self.classes)
        for a, b in zip(found, self._wanted, strict=True):
            between.add(torch.from_numpy(a), torch.from_numpy(b))
        return Measured(
            disagreement=_disagreement(found, self._wanted),
            class_change=class_change(between)[0],
            miou_drop=None
            if self.before is None or after is None
            else self.before.miou - after.miou,
            class_drop=drop,
            milliseconds=self._milliseconds(session),
        )

    def disagreement(self, model: onnx.ModelProto) -> float:
        """The share (0..1) of the unlabelled frames' pixels that get another label."""
        found = list(self._labels(_session(for_cpu(model)), self.unlabelled))
        return _disagreement(found, self._wanted_unlabelled)

    def _labels(self, session: CpuSession, frames: Frames) -> Iterator[Pixels]:
        for i in range(frames.count):
            frame = frames.read(i)
            logits = session.run(SEGMENTOR.input, frame.image[None], ["logits"])[0].numpy()
            yield labels_at(logits, frame.size, self.align_corners, torch.get_num_threads())[0]

    def _scores(self, found: list[Pixels]) -> Scores | None:
        if not self.frames.labelled:
            return None
        confusion = Confusion(self.classes)
        for i, labels in enumerate(found):
            true = self.frames.read(i).label
            assert true is not None
            confusion.add(torch.from_numpy(labels[None]), torch.from_numpy(true[None]))
        return confusion.scores()

    def _milliseconds(self, session: CpuSession) -> float:
        frame = self.frames.read(0)
        times = [_timed(session, frame) for _ in range(RUNS)]
        return 1e3 * statistics.median(times[1:])


def _timed(session: CpuSession, frame: Frame) -> float:
    began = time.perf_counter()
    session.run(SEGMENTOR.input, frame.image[None], ["logits"])
    return time.perf_counter() - began


def _session(model: onnx.ModelProto) -> CpuSession:
    return CpuSession(prune(model.SerializeToString(), ["logits"]))


def _disagreement(found: list[Pixels], wanted: list[Pixels]) -> float:
    other = sum(int((a != b).sum()) for a, b in zip(found, wanted, strict=True))
    return other / sum(labels.size for labels in wanted)
