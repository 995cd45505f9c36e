"""A scan finds every kind of bad file, and later runs leave those out."""

import json
import logging
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from adapt.data import scan as scan_module
from adapt.data.datasets import labelled, unlabelled
from adapt.data.scan import scan
from adapt.data.scan_report import cache_path, read_report, write_report
from roadshift import UserError

NOISE = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
LABEL = np.zeros((6, 8), np.uint8)
LABEL[:2] = 3
LABEL[5] = 77


def quiet(done: int, total: int) -> None:
    """No progress bar."""


@pytest.fixture(autouse=True)
def _own_scans(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Nine pairs, of which seven have something wrong."""
    root = tmp_path / "own"
    for name in "abcdefghi":
        save(root / f"images/{name}.png", NOISE)
        save(root / f"labels/{name}.png", LABEL)
    (root / "images/b.png").write_bytes(b"")
    (root / "images/c.png").write_bytes((root / "images/a.png").read_bytes()[:60])
    save(root / "images/d.png", np.full((6, 8, 3), 90, np.uint8))
    save(root / "labels/e.png", LABEL[:5])
    (root / "labels/f.png").unlink()
    save(root / "labels/g.png", np.full((6, 8), 255, np.uint8))
    (root / "labels/h.png").write_bytes((root / "labels/a.png").read_bytes()[:-20])
    table = {"classes": [{"id": 0, "name": "road"}, {"id": 3, "name": "sky"}]}
    (root / "classes.json").write_text(json.dumps(table))
    return root


def test_every_kind_of_bad_file_is_found(folder):
    report = scan(f"folder:{folder}", quiet)
    assert {(p.file[0], p.of, p.what) for p in report.problems} == {
        ("b", "image", "unreadable"),
        ("c", "image", "unreadable"),
        ("d", "image", "constant"),
        ("e", "label", "mismatched"),
        ("f", "label", "unlabelled"),
        ("g", "label", "ignored"),
        ("h", "label", "unreadable"),
    }
    assert {p.file[0]: p.detail for p in report.problems}["e"] == "is 6x8 while its label is 5x8"
    assert not report.other_classes


def test_the_numbers(folder):
    for name in "bcdefgh":
        (folder / f"images/{name}.png").unlink()
    save(folder / "images/i.png", NOISE[:, :5])
    save(folder / "labels/i.png", LABEL[:, :5])
    seen: list[tuple[int, int]] = []
    report = scan(f"folder:{folder}", lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]
    assert report.sizes == {"6x8": (1, "a.png"), "6x5": (1, "i.png")}
    assert report.pixels == {"road": 3 * 8 + 3 * 5, "sky": 2 * 8 + 2 * 5}
    assert report.unlisted == {77: 8 + 5}
    assert report.ignored == 13
    assert not report.problems


def test_the_json_survives_and_has_a_format(folder, tmp_path):
    report = scan(f"folder:{folder}", quiet)
    path = tmp_path / "deep/report.json"
    write_report(report, path)
    assert json.loads(path.read_text())["format"] == 1
    assert read_report(path) == report == read_report(cache_path(report.content))


def test_later_runs_leave_out_what_it_found(folder, caplog):
    spec = f"folder:{folder}"
    assert len(unlabelled(spec)) == 9
    scan(spec, quiet)
    with caplog.at_level(logging.WARNING):
        assert "".join(name[0] for name in unlabelled(spec).names) == "aefghi"
        assert "".join(name[0] for name in labelled(spec).images.names) == "ai"
    assert "a scan found 3 of 9 images bad (b.png is empty (0 bytes)); they are left" in caplog.text
    with pytest.raises(
        UserError, match=r"found 3 of 9 images bad .*; repair them and scan again, or"
    ):
        unlabelled(spec, strict=True)


def test_a_part_of_what_was_scanned_needs_no_scan_of_its_own(folder):
    scan(f"folder:{folder}", quiet)
    assert "".join(name[0] for name in unlabelled(f"folder:{folder}#[abcde]*").names) == "ae"


def test_strict_complains_about_labels_too(folder):
    spec = f"folder:{folder}#[aeg]*"
    scan(spec, quiet)
    with pytest.raises(
        UserError, match=r"found 2 of 3 images bad .e.png is 6x8 while its label is"
    ):
        labelled(spec, strict=True)
    assert len(unlabelled(spec, strict=True)) == 3


def test_a_repaired_image_is_back(folder):
    spec = f"folder:{folder}"
    scan(spec, quiet)
    save(folder / "images/b.png", NOISE)
    assert "b.png" in unlabelled(spec).names


def test_repaired_labels_ask_for_a_new_scan(folder, caplog):
    spec = f"folder:{folder}"
    scan(spec, quiet)
    save(folder / "labels/e.png", LABEL)
    with caplog.at_level(logging.WARNING):
        names = labelled(spec).images.names
    assert "e.png" in names
    assert "b.png" not in names
    assert "its labels have changed since the last scan; scan it again" in caplog.text


def test_nothing_is_left(folder):
    spec = f"folder:{folder}#[bc]*"
    scan(spec, quiet)
    with pytest.raises(
        UserError, match=r"found 2 of 2 images bad .*; no image is left: repair them"
    ):
        unlabelled(spec)


def test_labels_of_other_classes(folder):
    for path in (folder / "labels").iterdir():
        save(path, np.full((6, 8), 40, np.uint8))
    spec = f"folder:{folder}"
    assert scan(spec, quiet).other_classes
    with pytest.raises(
        UserError, match="labels of other classes: they hold the ids 40, wanted 0 road"
    ):
        labelled(spec)
    # A target's labels are nobody's business.
    assert len(unlabelled(spec)) == 6


def test_images_alone(folder):
    (folder / "classes.json").unlink()
    report = scan(f"folder:{folder}", quiet)
    assert report.labels is None
    assert {p.of for p in report.problems} == {"image"}
    assert report.pixels == {}
    assert not report.other_classes


def test_narrowed_classes_do_not_change_the_report(tmp_path):
    for kind in ("train", "trainannot"):
        save(tmp_path / f"cam/{kind}/1.png", NOISE if kind == "train" else LABEL)
    whole = scan(f"camvid:{tmp_path}/cam", quiet)
    narrow = scan(f"camvid:{tmp_path}/cam@cityscapes13", quiet)
    assert (whole.pixels, whole.content) == (narrow.pixels, narrow.content)


def test_toytown():
    report = scan("toytown:game#val/game_00500*", quiet)
    assert report.images == 10
    assert report.pixels["road"] > 0
    assert not report.problems


def test_few_images_are_in_memory_at_a_time(folder, monkeypatch):
    """The reader never runs far ahead of whoever consumes the findings."""
    lock, started = threading.Lock(), [0]
    for k in range(300):
        (folder / f"images/z{k:03d}.png").write_bytes(b"")

    def look(*_):
        with lock:
            started[0] += 1
        return scan_module.Finding("x", None, {}, [])

    monkeypatch.setattr(scan_module, "_look", look)
    monkeypatch.setattr(scan_module.os, "cpu_count", lambda: 2)
    ahead = []
    scan(f"folder:{folder}", lambda done, _: ahead.append(started[0] - done))
    assert started[0] == 309
    assert max(ahead) <= 10


def test_a_stopped_scan_stops(folder):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(f"folder:{folder}", stop)
    assert not (folder.parent / "cache").exists()


def test_a_damaged_report(folder):
    path = cache_path(scan(f"folder:{folder}", quiet).content)
    path.write_text("{")
    with pytest.raises(
        UserError, match=r"is damaged \(.*\); delete it and run `roadshift data scan`"
    ):
        unlabelled(f"folder:{folder}")
    path.write_text('{"format": 2}')
    with pytest.raises(UserError, match="was written by a newer roadshift; upgrade, or delete it"):
        unlabelled(f"folder:{folder}")


def test_a_real_set(shared_data):
    report = scan(f"camvid:{shared_data}/camvid#val/0016E5_08*", quiet)
    assert report.images > 5
    assert report.sizes.keys() == {"360x480"}
    assert report.unlisted.keys() <= {11}
    assert not report.problems
    assert report.pixels["road"] > report.pixels["person"] > 0
