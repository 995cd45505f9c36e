"""What came out for golden frames, class by class and output by output, against its limits."""

import numpy as np
import pytest

from export.bundle.golden import Golden
from export.bundle.reproduction import EVIDENCE, ByClass, Found, Reproduction, reproduction

CLASSES = ("road", "bus", "train", "bench")
RNG = np.random.default_rng(0)


def golden() -> Golden:
    """A street of road with a bus and a train of few pixels, and a bench of too few."""
    labels = np.zeros((200, 400), np.uint8)
    labels[:20, :20] = 1
    labels[:20, 20:40] = 2
    labels[-1, : EVIDENCE - 1] = 3
    confidence = RNG.integers(128, 256, labels.shape).astype(np.uint8)
    logits = RNG.normal(0, 4, (4, 25, 50)).astype(np.float16)
    return Golden(np.zeros((200, 400, 3), np.uint8), labels, confidence, logits)


ONE = golden()
GOOD = Found(ONE.labels, ONE.confidence, ONE.logits)


def swapped(a: int, b: int) -> np.ndarray:
    table = np.arange(256, dtype=np.uint8)
    table[[a, b]] = b, a
    return table[ONE.labels]


def test_what_is_equal() -> None:
    result = reproduction([ONE], [GOOD], CLASSES)
    assert (result.agreement, result.confidence, result.logits) == (1.0, 0.0, 0.0)
    assert {name: one.pixels for name, one in result.classes.items()} == {
        "road": 200 * 400 - 2 * 400 - EVIDENCE + 1,
        "bus": 400,
        "train": 400,
    }
    for exact in (True, False):
        assert result.reasons(result.limits(exact=exact)) == []


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (GOOD._replace(labels=swapped(1, 2)), "0.00% of the bus in the golden frames (wanted 9"),
        (GOOD._replace(labels=np.where(ONE.labels == 2, 0, ONE.labels)), "0.00% of the train"),
        (GOOD._replace(confidence=255 - ONE.confidence), "confidence that are off by 1"),
        (
            GOOD._replace(confidence=np.where(ONE.labels == 1, 255, 0) ^ ONE.confidence),
            "confidence that is off by 1",
        ),
        (GOOD._replace(logits=3 * ONE.logits.astype(float)), "logits that are off by 2"),
        (GOOD._replace(logits=ONE.logits[:3]), "logits that are off by inf"),
        (GOOD._replace(logits=ONE.logits * np.nan), "logits that are off by nan"),
    ],
    ids=["swapped", "never", "inverted", "inverted on the bus", "scaled", "fewer", "nan"],
)
def test_what_a_global_share_does_not_see(found: Found, reason: str, exact: bool) -> None:
    limits = reproduction([ONE], [GOOD], CLASSES).limits(exact=exact)
    result = reproduction([ONE], [found], CLASSES)
    assert result.agreement >= 0.98
    assert any(said.startswith(reason) for said in result.reasons(limits))


def test_what_is_no_number_in_a_later_frame() -> None:
    """Python's max keeps the first of two when the second is nan."""
    limits = reproduction([ONE, ONE], [GOOD, GOOD], CLASSES).limits(exact=True)
    bad = GOOD._replace(logits=ONE.logits * np.nan)
    result = reproduction([ONE, ONE], [GOOD, bad], CLASSES)
    wrong = [said.split("%")[0] for said in result.reasons(limits)]
    assert wrong == 2 * ["logits that are off by nan"]  # on average, and in the worst place
    worse = reproduction([ONE], [GOOD], CLASSES).or_worse(reproduction([ONE], [bad], CLASSES))
    assert np.isnan(worse.logits)


def test_pixels_that_the_manifest_counts_otherwise() -> None:
    """As where two classes' names are exchanged."""
    result = reproduction([ONE], [GOOD], CLASSES)
    limits = result.limits(exact=True)
    limits["classes"]["bus"]["pixels"] = 401
    assert result.reasons(limits) == [
        "400 pixels of bus in the golden frames' labels (the manifest says 401)"
    ]


def test_a_lower_precision_may_lose_half_as_much_again() -> None:
    labels = ONE.labels.copy()
    labels[:2, :20] = 0  # a tenth of the bus
    measured = reproduction([ONE], [GOOD._replace(labels=labels)], CLASSES)
    limits = measured.limits(exact=False)
    assert limits["classes"]["bus"]["min_agreement"] == pytest.approx(1 - 0.15 - 0.02)
    assert measured.reasons(limits) == []
    labels[2:4, :20] = 0
    worse = reproduction([ONE], [GOOD._replace(labels=labels)], CLASSES)
    assert worse.reasons(limits) == [
        "80.00% of the bus in the golden frames (wanted 83.00% of 400 pixels)"
    ]


def test_a_bundle_that_knows_labels_alone() -> None:
    one = Golden(ONE.image, ONE.labels)
    result = reproduction([one], [GOOD], CLASSES)
    assert (result.confidence, result.logits) == (None, None)
    assert set(result.limits(exact=True)) == {"classes"}
    assert result.reasons({}) == []


def test_of_two_forms_the_worse_by_class_and_output_counts() -> None:
    one = Reproduction(0.9, {"road": ByClass(500, 0.99, 3.0), "car": ByClass(300, 0.8)}, 2.0, None)
    other = Reproduction(
        0.95, {"road": ByClass(500, 0.9, 1.0), "car": ByClass(300, 0.85, 2.0)}, 1.0, 0.25
    )
    worse = Reproduction(
        0.9, {"road": ByClass(500, 0.9, 3.0), "car": ByClass(300, 0.8, 2.0)}, 2.0, 0.25
    )
    assert one.or_worse(other) == other.or_worse(one) == worse
    assert one.or_worse(one).logits is None
