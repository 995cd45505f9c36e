from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from adapt.evaluation.evaluate import logits_of
from adapt.networks.segmentor import Normalise
from export.bundle.reproduction import EVIDENCE
from export.frames import Frame, Frames
from export.graph.onnx_file import TRACED
from export.graph.segmentor import Deployed, SegmentorOutputs
from export.precision.budget import Budget, budget_reasons
from export.verification.comparison import SizeCheck, SizeComparison
from export.verification.inputs import Trial, sizes_to_check
from export.verification.margins import MarginShare
from export.verification.reference import MOST_GOLDEN, Wanted, answer_of, covering, golden_frames
from export.verification.segmentor import Candidate, SegmentorSession, verify
from export.verification.tolerances import exact_reasons
from roadshift import Failure, UserError

SIZES = ((45, 75), (33, 61), (58, 49))


def check(subject, graph, frames, sizes=SIZES):
    """`graph` is a file's content, or a module that stands for what it would answer."""
    runner = SegmentorSession(graph) if isinstance(graph, bytes) else InTorch(graph)
    trial = Trial(frames=frames, sizes=sizes, golden=golden_frames(subject, frames, None))
    (result,) = verify(subject, [Candidate(precision="fp32", runner=runner)], trial)
    return result


class InTorch:
    name = "torch"

    def __init__(self, deployed: Deployed) -> None:
        self.deployed = deployed.eval()

    def __call__(self, images: np.ndarray) -> SegmentorOutputs:
        with torch.inference_mode():
            return self.deployed(torch.from_numpy(images))


def test_the_networks_own_graph_passes(tiny, centres) -> None:
    result = check(tiny.subject(tiny.Centres()), centres, tiny.frames())
    assert result.passed
    assert result.reasons == ()
    assert [c.size for c in result.sizes] == list(SIZES)
    for c in result.sizes:
        assert c.frames == 3
        assert 0 < c.logit_error_mean <= c.logit_error_p999 <= c.logit_error_max < 1e-4
        assert c.logit_range > 1
        assert c.clear_agreement == 1
        assert c.clear_share > 0.999
        assert c.miou_between > 99.9
        assert c.miou_torch is c.miou_graph is c.class_drop is c.worst_class is None
        assert sum(m.share for m in c.margins) == pytest.approx(1)
        assert {m.agreement for m in c.margins[1:]} <= {1.0, None}
    assert result.golden_agreement >= 0.999
    assert result.values()["min_agreement"] == 0.999


def test_corners_and_a_work_size_pass(tiny, corners) -> None:
    assert check(tiny.subject(tiny.Corners(), (24, 40)), corners, tiny.frames()).passed


def test_labels_give_the_change_of_the_score(tiny, centres) -> None:
    frames = tiny.frames(labelled=True)
    (c,) = check(tiny.subject(tiny.Centres()), centres, frames, ((45, 75),)).sizes
    assert c.miou_torch == pytest.approx(c.miou_graph, abs=0.05)
    assert 5 < c.miou_torch < 60  # three classes, random labels
    assert abs(c.class_drop) < 0.1
    assert c.worst_class in tiny.classes


class CornersFlipped(Deployed):
    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.align_corners = not self.align_corners


class ChannelsSwapped(Deployed):
    def forward(self, image: torch.Tensor) -> SegmentorOutputs:
        return super().forward(image.flip(3))


class LabelsEnlarged(Deployed):
    """argmax at low resolution, then the nearest neighbour."""

    def forward(self, image: torch.Tensor) -> SegmentorOutputs:
        _, confidence, logits = super().forward(image)
        small = logits.argmax(1, keepdim=True).float()
        labels = interpolate(small, size=(image.shape[1], image.shape[2]), mode="nearest")
        return SegmentorOutputs(labels[:, 0].to(torch.uint8), confidence, logits)


class ConfidenceOfLogits(Deployed):
    """The confidence at low resolution, enlarged."""

    def forward(self, image: torch.Tensor) -> SegmentorOutputs:
        labels, _, logits = super().forward(image)
        small = logits.softmax(1).amax(1, keepdim=True)
        full = interpolate(small, size=(image.shape[1], image.shape[2]), mode="bilinear")
        return SegmentorOutputs(labels, (full[:, 0] * 255).round().to(torch.uint8), logits)


class ResizedToNearest(Deployed):
    def forward(self, image: torch.Tensor) -> SegmentorOutputs:
        small = interpolate(image.movedim(3, 1).float(), size=(24, 40), mode="nearest")
        logits = logits_of(self.segmentor, small.to(torch.uint8).movedim(1, 3), None)
        full = interpolate(logits, size=(image.shape[1], image.shape[2]), mode="bilinear")
        labels = full.argmax(1).to(torch.uint8)
        return SegmentorOutputs(
            labels, (full.softmax(1).amax(1) * 255).round().to(torch.uint8), logits
        )


@pytest.mark.parametrize(
    ("planted", "work_size", "reason"),
    [
        (CornersFlipped, None, "of the clear pixels have other labels"),
        (ChannelsSwapped, None, "logits differ by up to"),
        (LabelsEnlarged, None, "of the clear pixels have other labels"),
        (ConfidenceOfLogits, None, "confidence differs by up to"),
        (ResizedToNearest, (24, 40), "logits differ by up to"),
    ],
)
def test_a_planted_fault_is_caught(tiny, planted, work_size, reason) -> None:
    fault = planted(tiny.Centres(), work_size)
    result = check(tiny.subject(tiny.Centres(), work_size), fault, tiny.frames())
    assert not result.passed
    for c in result.sizes:
        assert [r for r in exact_reasons(c) if reason in r and f"at {c.size[0]}x{c.size[1]} " in r]


def test_flipped_corners_are_caught_the_other_way_round(tiny) -> None:
    fault = CornersFlipped(tiny.Corners(), None)
    assert not check(tiny.subject(tiny.Corners()), fault, tiny.frames()).passed


def test_a_wrong_mean_is_caught(tiny) -> None:
    almost = Normalise((0.48, 0.45, 0.40), (0.229, 0.224, 0.225))
    fault = Deployed(tiny.Centres(almost), None)
    result = check(tiny.subject(tiny.Centres()), fault, tiny.frames())
    assert "logits differ by up to" in result.reasons[0]


def test_a_golden_frame_that_comes_out_otherwise_is_caught(tiny, centres) -> None:
    subject = tiny.subject(tiny.Centres())
    golden = golden_frames(subject, tiny.frames(), None)
    golden[1].labels[:2] ^= 1
    trial = Trial(frames=tiny.frames(), sizes=((45, 75),), golden=golden)
    (result,) = verify(
        subject, [Candidate(precision="fp32", runner=SegmentorSession(centres))], trial
    )
    assert result.reasons == ("95.556% of a golden frame's labels agree",)


def test_a_graph_that_fails_at_a_size(tiny, fixed) -> None:
    subject = tiny.subject(tiny.Centres(), (24, 40))
    with pytest.raises(Failure, match=r"does not take 33x61 frames, which the network takes: "):
        trial = Trial(frames=tiny.frames(), sizes=SIZES[1:], golden=[])
        verify(subject, [Candidate(precision="fp32", runner=SegmentorSession(fixed))], trial)


def test_a_graph_that_is_none(tiny) -> None:
    with pytest.raises(Failure, match="ONNX Runtime cannot load the exported graph: "):
        SegmentorSession(b"nonsense")


def test_a_frame_that_the_network_cannot_take(tiny, centres) -> None:
    class Coarse(tiny.Centres):
        def forward(self, x):
            return super().forward(x.unfold(2, 50, 50).flatten(3))

    with pytest.raises(Failure, match=r"cannot take 45x75 frames: .*; give larger frames, or"):
        golden_frames(tiny.subject(Coarse()), tiny.frames(), None)


def test_a_network_that_has_diverged(tiny, centres) -> None:
    segmentor = tiny.Centres()
    with torch.no_grad():
        segmentor.head.bias[0] = torch.nan
    with pytest.raises(Failure, match="answers a 45x75 frame with NaN or infinite logits"):
        golden_frames(tiny.subject(segmentor), tiny.frames(), None)


def test_labels_of_no_class(tiny, centres) -> None:
    blank = np.full((45, 75), 255, np.uint8)
    image = tiny.frames().read(0).image
    frames = Frames("folder:blank", 1, lambda _: Frame(image, blank), True)
    with pytest.raises(UserError, match="folder:blank has no labels of the classes road, car, sky"):
        check(tiny.subject(tiny.Centres()), centres, frames, ((45, 75),))


def test_golden_frames_keep_their_size_and_have_torchs_labels(tiny, centres) -> None:
    subject = tiny.subject(tiny.Centres())
    (one,) = golden_frames(subject, tiny.frames(1), None)
    assert np.array_equal(one.image, tiny.frames().read(0).image)
    assert np.array_equal(one.labels, answer_of(subject.segmentor, one.image[None], None).labels[0])
    assert [g.labels.shape for g in golden_frames(subject, tiny.frames(9), (32, 48))] == [
        (32, 48)
    ] * 3


def test_golden_frames_cover_the_classes() -> None:
    counts = np.zeros((9, 4), np.int64)
    counts[:, 0] = 1000
    counts[4, 1] = counts[7, 2] = 300
    counts[8, 3] = EVIDENCE - 1  # never enough of it
    assert covering(counts) == [4, 7, 0]
    assert covering(counts[:2]) == [0, 1]
    many = np.diag(np.full(20, 300))
    assert covering(many) == list(range(MOST_GOLDEN))


@pytest.mark.parametrize("level", [0, 128])
def test_frames_that_show_nothing_are_no_evidence(tiny, level) -> None:
    blank = Frame(np.full((45, 75, 3), level, np.uint8), None)
    frames = Frames("folder:dark", 3, lambda _: blank, False)
    with pytest.raises(UserError, match=r"folder:dark show nothing .*: they are no evidence"):
        golden_frames(tiny.subject(tiny.Centres()), frames, None)
    one = Frames("folder:dark", 3, lambda i: tiny.frames().read(0) if i == 1 else blank, False)
    (golden,) = golden_frames(tiny.subject(tiny.Centres()), one, None)
    assert golden.image.std() > 10


def test_one_frame_is_enough(tiny, centres) -> None:
    result = check(tiny.subject(tiny.Centres()), centres, tiny.frames(1))
    assert {c.frames for c in result.sizes} == {3}  # a batch of two and a batch of one


@pytest.mark.parametrize(
    ("native", "smallest"),
    [
        ((128, 256), (33, 33)),
        ((1024, 2048), (33, 33)),
        ((720, 960), (16, 16)),
        (TRACED, (33, 33)),
        ((33, 33), (33, 33)),
    ],
)
def test_the_sizes_that_are_checked(native, smallest) -> None:
    sizes = sizes_to_check(native, smallest)
    assert len(set(sizes)) == len(sizes) >= 3
    assert smallest in sizes
    assert TRACED not in sizes
    assert native in sizes or native == TRACED
    assert all(h >= smallest[0] and w >= smallest[1] for h, w in sizes)
    assert sum(h % 32 > 0 and w % 32 > 0 for h, w in sizes) >= 2
    assert any(h % 2 and w % 2 for h, w in sizes)


def answer(labels, confidence, logits) -> SegmentorOutputs:
    return SegmentorOutputs(
        torch.tensor([labels], dtype=torch.uint8),
        torch.tensor([confidence], dtype=torch.uint8),
        torch.tensor([logits]),
    )


def test_the_numbers_of_a_comparison() -> None:
    """Four pixels, two classes; the graph is off by 0.25 in one logit of two batches."""
    comparison = SizeComparison((2, 2), ("a", "b"), True)
    logits = [[[0.0, 0.0], [0.0, 0.0]], [[8.0, 0.125], [-8.0, 2.0]]]
    margin = torch.tensor([[[8.0, 0.125], [8.0, 2.0]]])
    wanted = Wanted(*answer([[1, 1], [0, 1]], [[255, 135], [255, 224]], logits), margin)
    off = [logits[0], [[8.0, -0.125], [-8.0, 2.0]]]
    found = answer([[1, 0], [0, 1]], [[255, 134], [250, 224]], off)
    label = np.array([[[1, 1], [255, 1]]], np.uint8)
    comparison.add(wanted, found, label)
    comparison.add(wanted, SegmentorOutputs(wanted.labels, wanted.confidence, wanted.logits), label)
    c = comparison.result()
    assert (c.frames, c.logit_range, c.logit_error_max) == (2, 16.0, 0.25)
    assert c.logit_error_mean == pytest.approx(0.25 / 8 / 2)
    assert c.agreement == 7 / 8
    assert c.clear_agreement == 7 / 8  # the graph's own error does not excuse it
    assert c.clear_share == 1.0
    assert c.confidence_error == 5
    assert c.confidence_allowed == 1 + int(255 * 0.001 * 16 / 2)
    assert c.miou_between == pytest.approx(100 * (2 / 3 + 5 / 6) / 2)
    assert c.miou_torch == 100.0
    assert c.miou_graph == pytest.approx(100 * 5 / 6)  # over the classes in the labels
    assert c.class_drop == pytest.approx(100 / 6)
    assert c.worst_class == "b"  # torch has no score for the other one
    assert c.miou_drop == pytest.approx(100 / 6)
    empty = MarginShare(None, 0.0, None)
    assert c.margins == (
        empty._replace(below=0.1),
        MarginShare(0.5, 2 / 8, 0.5),
        empty._replace(below=1.0),
        empty._replace(below=2.0),
        MarginShare(4.0, 2 / 8, 1.0),
        MarginShare(None, 4 / 8, 1.0),
    )


def test_a_class_that_vanishes_leaves_no_mean() -> None:
    """Class "a" is predicted by torch alone and is in no label: both means are over "b"."""
    comparison = SizeComparison((2, 2), ("a", "b"), True)
    logits = [[[0.0, 0.0]] * 2] * 2
    wanted = Wanted(*answer([[0, 1], [1, 1]], [[255] * 2] * 2, logits), torch.ones(1, 2, 2))
    found = answer([[1, 1], [1, 1]], [[255] * 2] * 2, logits)
    comparison.add(wanted, found, np.array([[[255, 1], [1, 1]]], np.uint8))
    c = comparison.result()
    assert (c.miou_torch, c.miou_graph, c.miou_drop) == (100.0, 100.0, 0.0)


@pytest.mark.parametrize(("pixels", "change"), [(255, 0.0), (256, 100.0)])
def test_a_class_that_is_never_predicted_any_more_is_seen(pixels: int, change: float) -> None:
    comparison = SizeComparison((64, 64), ("a", "b"), False)
    labels = torch.zeros(1, 64, 64, dtype=torch.uint8)
    labels.view(-1)[:pixels] = 1
    zeros = torch.zeros(1, 2, 4, 4)
    sure = torch.full((1, 64, 64), 255, dtype=torch.uint8)
    wanted = Wanted(labels, sure, zeros, torch.ones(1, 64, 64))
    comparison.add(wanted, SegmentorOutputs(torch.zeros_like(labels), sure, zeros), None)
    c = comparison.result()
    assert c.agreement > 0.93
    assert (c.class_change > 6, c.changed_class) == (True, "b" if change else "a")
    assert (c.class_change == 100) is bool(change)


GOOD = SizeCheck(
    size=(4, 6),
    frames=3,
    logit_range=10.0,
    logit_error_max=1e-5,
    logit_error_mean=1e-6,
    logit_error_p999=1e-5,
    agreement=1.0,
    clear_share=1.0,
    clear_agreement=1.0,
    confidence_error=1,
    confidence_allowed=1,
    margins=(),
    miou_between=100.0,
    class_change=0.0,
    changed_class="road",
    miou_torch=50.0,
    miou_graph=50.0,
    class_drop=0.0,
    worst_class="road",
)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (
            {"logit_error_max": 0.02},
            "at 4x6 logits differ by up to 0.02, 0.20% of their range (allowed 0.10%)",
        ),
        (
            {"logit_error_max": float("nan")},
            "at 4x6 logits differ by up to nan, nan% of their range (allowed 0.10%)",
        ),
        (
            {"logit_range": 0.0, "logit_error_max": 0.01},
            "at 4x6 logits differ by up to 0.01, 1.00% of their range (allowed 0.10%)",
        ),
        ({"clear_agreement": 0.99}, "at 4x6 1.000% of the clear pixels have other labels"),
        ({"agreement": 0.9}, "at 4x6 90.000% of the labels agree (wanted 99.9%)"),
        ({"confidence_error": 2}, "at 4x6 confidence differs by up to 2 of 255 (allowed 1)"),
        ({"miou_graph": 49.8}, "at 4x6 mIoU changes by 0.20 points"),
        (
            {"miou_graph": None, "miou_torch": None, "miou_between": 99.5},
            "at 4x6 mIoU changes by 0.50 points",
        ),
    ],
)
def test_each_limit_refuses_alone(wrong, reason) -> None:
    assert exact_reasons(GOOD) == ()
    assert exact_reasons(replace(GOOD, **wrong)) == (reason,)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"miou_graph": 49.4}, "at 4x6 mIoU falls by 0.60 points (allowed 0.5)"),
        ({"class_drop": 2.5}, "at 4x6 IoU of road falls by 2.50 points (allowed 2)"),
        ({"logit_error_max": float("inf")}, "at 4x6 logits are NaN or infinite"),
        (
            {"miou_torch": None, "miou_graph": None, "class_drop": None, "agreement": 0.97},
            "at 4x6 3.00% of the labels differ (allowed 2%)",
        ),
        (
            {
                "miou_torch": None,
                "miou_graph": None,
                "class_drop": None,
                "agreement": 0.985,
                "class_change": 50.0,
                "changed_class": "bus",
            },
            "at 4x6 IoU of bus between both is 50.00 (wanted 70)",
        ),
    ],
)
def test_each_limit_of_a_budget_refuses_alone(wrong, reason) -> None:
    budget = Budget(max_miou_drop=0.5, max_class_drop=2.0, max_disagreement=2.0)
    lossy = replace(GOOD, logit_error_max=1.0, agreement=0.9, clear_agreement=0.99, miou_graph=49.6)
    assert exact_reasons(lossy)
    assert budget_reasons(lossy, budget, (4, 6)) == ()
    assert budget_reasons(replace(lossy, **wrong), budget, (4, 6)) == (reason,)
    other = budget_reasons(replace(lossy, **wrong, size=(4, 7)), budget, (4, 6))
    assert bool(other) == ("infinite" in reason)  # twice as much may be lost there
    tiny = budget_reasons(replace(lossy, **wrong), budget, (40, 60))
    assert tiny == ((reason,) if "infinite" in reason else ())


def test_candidates_share_one_pass_of_the_network(tiny, centres) -> None:
    class Counting(tiny.Centres):
        calls = 0

        def forward(self, x):
            Counting.calls += 1
            return super().forward(x)

    subject = tiny.subject(Counting())
    trial = Trial(
        frames=tiny.frames(), sizes=((45, 75),), golden=golden_frames(subject, tiny.frames(), None)
    )
    before = Counting.calls
    runner = SegmentorSession(centres)
    lossy = Candidate(precision="int8", runner=runner, reasons=lambda _: ("too much",))
    exact, other = verify(subject, [Candidate(precision="fp32", runner=runner), lossy], trial)
    assert Counting.calls - before == 2  # a batch of two frames and one of one
    assert exact.sizes == other.sizes
    assert (exact.passed, other.reasons) == (True, ("too much",))
    assert (exact.min_agreement, other.min_agreement) == (0.999, 0.995)
