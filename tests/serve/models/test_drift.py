"""Signs that frames are not what a model was made for."""

import cv2
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from export.bundle import Golden
from serve.media.codec import encode_png
from serve.models.drift import Drift, look
from serve.models.metrics import Metrics


@pytest.fixture
def street():
    return cv2.resize(np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8), (480, 320))


def test_the_statistics_of_a_frame():
    flat = np.zeros((300, 500, 3), np.uint8)
    flat[..., 0], flat[..., 1], flat[..., 2] = 10, 20, 30
    assert look(flat) == pytest.approx([10, 20, 30, 0, 0, 0, 0])
    halves = flat.copy()
    halves[:, 250:] = 110, 120, 130
    assert look(halves) == pytest.approx([60, 70, 80, 50, 50, 50, 100 / 127 / 2], rel=0.01)
    assert look(flat[:1, :1]) == pytest.approx([10, 20, 30, 0, 0, 0, 0])


def test_night_fog_and_blur_are_farther_than_the_golden_frames(kit, tmp_path, street):
    golden = [Golden(street, kit.true_labels(street))]
    drift = Drift(kit.make_bundle(tmp_path / "b", golden=golden), Metrics().drift)
    drift.prepare()
    assert drift.distance(street) == 0
    brighter = np.clip(street.astype(int) + 5, 0, 255).astype(np.uint8)
    strange = {
        "night": street // 4,
        "fog": (street // 4 + 190).astype(np.uint8),
        "blur": cv2.GaussianBlur(street, (0, 0), 40),
        "red": np.stack([street[..., 0], street[..., 1] // 8, street[..., 2] // 8], -1),
    }
    for name, frame in strange.items():
        assert drift.distance(frame) > 2 * drift.distance(brighter), name
        assert drift.distance(frame) > 1, name


def test_what_an_operator_sees(tiny, kit, monkeypatch):
    monkeypatch.setattr("serve.models.drift.EVERY_SECONDS", 0.0)
    image = kit.random_image(1)
    with kit.running(tiny) as client:
        for kind in ("labels", "labels,confidence"):
            client.post(f"/segment?as={kind}", content=encode_png(image), headers=kit.PNG)
        found = figures(client)
    shares = np.bincount(kit.true_labels(image).ravel(), minlength=4) / image[..., 0].size
    for name, share in zip(kit.classes, shares, strict=True):
        assert found["roadshift_class_share_count", name, "tiny"] == 2
        assert found["roadshift_class_share_sum", name, "tiny"] == pytest.approx(2 * share)
    assert found["roadshift_confidence_count", "tiny"] == 1
    assert 0 < found["roadshift_confidence_sum", "tiny"] <= 1
    assert found["roadshift_look_distance_count", "tiny"] == 2


def figures(client):
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }


def test_not_every_frame_is_looked_at(tiny, kit, monkeypatch):
    monkeypatch.setattr("serve.models.drift.EVERY_SECONDS", 3600.0)
    with kit.running(tiny) as client:
        for _ in range(5):
            kit.small(client)
        assert figures(client)["roadshift_look_distance_count", "tiny"] == 1
