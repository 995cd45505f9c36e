"""torch == graph, on real frames and several sizes, or no bundle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from export.bundle import Golden
from export.bundle.data_name import public_spec
from export.bundle.graphs import SEGMENTOR
from export.bundle.reproduction import Found, Reproduction, reproduction
from export.frames import Frames, Pixels, Size
from export.graph.segmentor import OUTPUTS, SegmentorOutputs
from export.verification.comparison import SizeCheck, SizeComparison
from export.verification.cpu_session import CpuSession
from export.verification.inputs import Trial, batches
from export.verification.reference import Subject, answer_of_network
from export.verification.tolerances import MIN_AGREEMENT, exact_reasons
from roadshift import UserError


class SegmentorRunner(Protocol):
    """Something that runs what was exported; `name` is for the report."""

    @property
    def name(self) -> str: ...

    def __call__(self, images: Pixels) -> SegmentorOutputs: ...


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A graph in one precision, and what is wrong with it, by what came out at one size.

    `served` runs it in the form in which a server does, where that is another than the file's: what
    a device must reach on the golden frames is derived from the worse of the two.
    """

    precision: str
    runner: SegmentorRunner
    served: SegmentorRunner | None = None
    reasons: Callable[[SizeCheck], tuple[str, ...]] = exact_reasons

    @property
    def exact(self) -> bool:
        """Whether it must give torch's labels, or may lose some."""
        return self.precision == "fp32"


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The checks of every size, and the golden frames that went through both sides."""

    candidate: Candidate
    spec: str
    labelled: bool
    sizes: tuple[SizeCheck, ...]
    golden: Reproduction

    @property
    def golden_agreement(self) -> float:
        """The share (0..1) of equal labels in the worst golden frame."""
        return self.golden.agreement

    @property
    def limits(self) -> dict[str, Any]:
        """What a device must reach by class and output."""
        return self.golden.limits(exact=self.candidate.exact)

    @property
    def min_agreement(self) -> float:
        """What a device must reach on the golden frames (0..1).

        Devices round differently, so in lower precisions half as much again as was lost here.
        """
        if self.candidate.exact:
            return MIN_AGREEMENT
        return max(0.0, 1 - 1.5 * (1 - self.golden_agreement) - 0.005)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the graph is refused; empty when it is not."""
        wrong = [reason for check in self.sizes for reason in self.candidate.reasons(check)]
        if self.golden_agreement < self.min_agreement:
            wrong.append(f"{self.golden_agreement:.3%} of a golden frame's labels agree")
        wrong += [f"the graph gives {reason}" for reason in self.golden.reasons(self.limits)]
        return tuple(wrong)

    @property
    def passed(self) -> bool:
        """Whether the graph is the network."""
        return not self.reasons

    def values(self) -> dict[str, Any]:
        """For bundle.json."""
        return {
            "min_agreement": self.min_agreement,
            "passed": self.passed,
            "frames": self.spec,
            "labelled": self.labelled,
            "runtime": self.candidate.runner.name,
            "golden_agreement": self.golden_agreement,
            "golden_confidence_error": self.golden.confidence,
            "golden_logit_error": self.golden.logits,
            "golden_logit_cell_error": self.golden.cell,
            **self.limits,
            "sizes": [_check_values(check) for check in self.sizes],
        }


class SegmentorSession:
    """The graph under ONNX Runtime on the CPU, as the file says it: nothing is rewritten."""

    name = CpuSession.name

    def __init__(self, graph: bytes) -> None:
        """`graph` is the file's content."""
        self._session = CpuSession(graph)

    def __call__(self, images: Pixels) -> SegmentorOutputs:
        """RGB [n,h,w,3] -> what the graph answers; Failure where it cannot."""
        return SegmentorOutputs(*self._session.run(SEGMENTOR.input, images, OUTPUTS))


def no_one(_images: Pixels, _labels: Pixels) -> None:
    """Nobody wants to see them."""


def verify(
    subject: Subject,
    candidates: Sequence[Candidate],
    trial: Trial,
    seen: Callable[[Pixels, Pixels], None] = no_one,
) -> list[Verification]:
    """Runs the network once, and each candidate, on all frames at each size, and on the golden.

    Batches of one and of two frames; one batch is in memory at a time, and `seen` is told the
    frames [n,h,w,3] and the network's labels for them [n,h,w]. Raises Failure when network or graph
    cannot take a size, UserError when the labels are of none of the classes.
    """
    checks = [_check(subject, candidates, trial.frames, size, seen) for size in trial.sizes]
    return [
        Verification(
            candidate=candidate,
            spec=public_spec(trial.frames.spec),
            labelled=trial.frames.labelled,
            sizes=tuple(check[i] for check in checks),
            golden=_reproduced(candidate, trial.golden, subject.classes),
        )
        for i, candidate in enumerate(candidates)
    ]


def _reproduced(
    candidate: Candidate, golden: Sequence[Golden], classes: Sequence[str]
) -> Reproduction:
    found = _reproduced_by(candidate.runner, golden, classes)
    if candidate.served is None:
        return found
    return found.or_worse(_reproduced_by(candidate.served, golden, classes))


def _reproduced_by(
    runner: SegmentorRunner, golden: Sequence[Golden], classes: Sequence[str]
) -> Reproduction:
    answers = [runner(g.image[None]) for g in golden]
    found = [Found(*(x[0].numpy() for x in (a.labels, a.confidence, a.logits))) for a in answers]
    return reproduction(golden, found, classes)


def _check(
    subject: Subject,
    candidates: Sequence[Candidate],
    frames: Frames,
    size: Size,
    seen: Callable[[Pixels, Pixels], None],
) -> list[SizeCheck]:
    comparisons = [SizeComparison(size, subject.classes, frames.labelled) for _ in candidates]
    for batch in batches(frames, size):
        images = np.stack([frame.image for frame in batch])
        labels = [frame.label for frame in batch if frame.label is not None]
        label = np.stack(labels) if labels else None
        wanted = answer_of_network(subject, images)
        for candidate, comparison in zip(candidates, comparisons, strict=True):
            comparison.add(wanted, candidate.runner(images), label)
        seen(images, wanted.labels.numpy())
    if frames.labelled and not comparisons[0].torch.matrix.any():
        raise UserError(
            f"{frames.spec} has no labels of the classes {', '.join(subject.classes)}: give --data "
            "with labels of some of them, or leave it out"
        )
    return [comparison.result() for comparison in comparisons]


def _check_values(check: SizeCheck) -> dict[str, Any]:
    return asdict(check) | {"margins": [margin._asdict() for margin in check.margins]}
