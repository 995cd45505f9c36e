"""roadshift data scan and show."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from adapt.cli.data import app
from adapt.data.datasets import labelled, unlabelled
from adapt.pictures.contact_sheet import contact_sheet
from adapt.pictures.overlay import overlay
from roadshift import Failure, UserError


def run(*arguments: object) -> None:
    app([str(a) for a in arguments], result_action="return_value", exit_on_error=False)


@pytest.fixture(autouse=True)
def _own_scans(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def folder(tmp_path) -> Path:
    root = tmp_path / "own"
    noise = np.random.default_rng(0).integers(0, 255, (20, 40, 3), dtype=np.uint8)
    label = np.full((20, 40), 255, np.uint8)
    label[:10], label[15:] = 0, 3
    for inside in ("images", "labels"):
        (root / inside).mkdir(parents=True)
    for i in range(30):
        cv2.imwrite(str(root / f"images/{i:02d}.png"), noise)
        cv2.imwrite(str(root / f"labels/{i:02d}.png"), label)
    table = {"classes": [{"id": 0, "name": "sky"}, {"id": 3, "name": "road"}]}
    (root / "classes.json").write_text(json.dumps(table))
    return root


def test_scan_prints_a_table_and_writes_json(folder, tmp_path, capsys):
    (folder / "images/07.png").write_bytes(b"")
    run("scan", f"folder:{folder}", "--json", tmp_path / "report.json")
    shown = capsys.readouterr().out
    for part in (
        "20x40",
        "50.00 %",
        "25.00 %",
        "ignored (ids: 255)",
        "07.png",
        "is empty (0 bytes)",
    ):
        assert part in shown
    assert "30 images: as a target, 1 are bad and left out; with labels, 1" in shown
    report = json.loads((tmp_path / "report.json").read_text())
    assert [p["file"] for p in report["problems"]] == ["07.png"]
    assert len(unlabelled(f"folder:{folder}")) == 29


def test_scan_lists_the_first_problems_and_counts_the_rest(folder, capsys):
    for path in (folder / "images").iterdir():
        path.write_bytes(b"")
    run("scan", f"folder:{folder}")
    shown = capsys.readouterr().out
    assert "19.png" in shown
    assert "20.png" not in shown
    assert "10 more" in shown


def test_scan_of_images_alone(folder, capsys):
    (folder / "classes.json").unlink()
    run("scan", f"folder:{folder}")
    assert "no labels, or no classes.json that says what their ids mean" in capsys.readouterr().out


def test_scan_of_other_classes_is_an_error_after_the_report(folder, tmp_path, capsys):
    for path in (folder / "labels").iterdir():
        cv2.imwrite(str(path), np.full((20, 40), 60, np.uint8))
    with pytest.raises(
        UserError, match="labels of other classes: they hold the ids 60, wanted 0 sky"
    ):
        run("scan", f"folder:{folder}", "--json", tmp_path / "report.json")
    assert (tmp_path / "report.json").exists()
    assert "ignored (ids: 60)" in capsys.readouterr().out


def test_show_writes_a_png(folder, tmp_path, capsys):
    out = tmp_path / "deep/sheet.png"
    run("show", f"folder:{folder}", "--out", out, "--count", 3)
    assert cv2.imread(str(out)).shape[1] > 800
    assert "sheet.png" in capsys.readouterr().out
    run("show", f"folder:{folder}@camvid11#00*", "--out", out)


def test_show_of_images_alone(folder, tmp_path, capsys):
    out = tmp_path / "sheet.png"
    (folder / "classes.json").unlink()
    run("show", f"folder:{folder}", "--out", out, "--count", 1)
    assert cv2.imread(str(out)).shape[1] < 800
    assert "no labels that can be read were found" in capsys.readouterr().out


def test_show_of_a_broken_image(folder, tmp_path):
    (folder / "images/00.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"00.png is empty .*run `roadshift data scan folder:"):
        run("show", f"folder:{folder}", "--out", tmp_path / "sheet.png")


def test_show_where_nothing_can_be_written(folder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Failure, match="could not write"):
        run("show", f"folder:{folder}", "--out", tmp_path / "file/sheet.png")


def test_the_sheet_shows_each_class_in_its_colour(folder):
    pairs = labelled(f"folder:{folder}")
    sheet = contact_sheet(pairs, 2)
    sky, road = pairs.palette
    legend = sheet[-20:].reshape(-1, 3)
    assert (legend == sky).all(1).any()
    assert (legend == road).all(1).any()


def test_overlay():
    image = np.full((1, 3, 3), 100, np.uint8)
    label = np.array([[0, 1, 255]], np.uint8)
    tinted = overlay(image, label, [(200, 0, 100), (0, 0, 0)], strength=0.5)
    assert tinted.tolist() == [[[150, 50, 100], [50, 50, 50], [100, 100, 100]]]
