"""An archive labelled by real processes: whole, resumed, and after one was killed."""

from __future__ import annotations

import csv
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_graphs import CLASSES, true_image, true_labels

from export.bundle import Bundle
from roadshift import Failure, UserError
from serve.archive import label as module
from serve.archive.label import Archive, label
from serve.archive.shard import UNREAD, Labeller, rows_of, shards_of
from serve.cli.label import label as command
from serve.models.self_check.self_check import SelfCheck


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (32, 48, 3), dtype=np.uint8)


def frames(folder: Path, count: int) -> Path:
    for i in range(count):
        path = folder / f"drive{i % 2}" / f"{i:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), picture(i)[..., ::-1])
    return folder


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "frames.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_frame_has_its_labels_and_a_row(tiny: Bundle, tmp_path: Path) -> None:
    source, out = frames(tmp_path / "in", 5), tmp_path / "out"
    (source / "drive0" / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing more")
    found = label(Archive(bundle=tiny, source=source, out=out, workers=2, shard=2))
    assert (found.frames, list(found.unread)) == (5, ["drive0/broken.jpg"])
    by_name = {row["file"]: row for row in rows(out)}
    assert len(by_name) == 6
    assert by_name["drive0/broken.jpg"]["error"] == found.unread["drive0/broken.jpg"] != ""
    wanted = true_labels(picture(3))
    labels = cv2.imread(str(out / "labels/drive1/003.png.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(labels, wanted)
    row = by_name["drive1/003.png"]
    shares = [float(row[f"share {name}"]) for name in CLASSES]
    assert shares == pytest.approx(np.bincount(wanted.ravel(), minlength=3) / wanted.size, abs=1e-6)
    assert (row["height"], row["width"]) == ("32", "48")
    assert 0 <= float(row["confidence"]) <= 1


def test_what_is_there_is_kept_and_what_changed_is_made_again(tiny: Bundle, tmp_path: Path) -> None:
    source, out = frames(tmp_path / "in", 4), tmp_path / "out"
    label(Archive(bundle=tiny, source=source, out=out, workers=1, shard=1))
    before = {path: path.stat().st_mtime_ns for path in (out / "labels").rglob("*.png")}
    cv2.imwrite(str(source / "drive1/001.png"), picture(9)[..., ::-1])
    label(Archive(bundle=tiny, source=source, out=out, workers=1, shard=1))
    changed = [path for path, at in before.items() if path.stat().st_mtime_ns != at]
    assert changed == [out / "labels/drive1/001.png.png"]
    assert len(rows(out)) == 4


def test_a_frame_that_changes_while_it_is_labelled_is_not_done(
    tiny: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that is still being copied: its labels are of what was there before."""
    source, out = frames(tmp_path / "in", 1), tmp_path / "out"
    [shard] = shards_of(source, 64)
    labeller = Labeller(tiny.folder, tiny.digest, out, "fp32", False)
    real = labeller.engine.segment

    def segment(image: np.ndarray, **more: bool) -> object:
        cv2.imwrite(str(source / shard.names[0]), picture(9))
        os.utime(source / shard.names[0], (1, 1))
        return real(image, **more)

    monkeypatch.setattr(labeller.engine, "segment", segment)
    labeller.label(shard)
    assert not shard.table(out).is_file()
    monkeypatch.undo()
    labeller.label(shard)
    assert shard.table(out).is_file()
    with pytest.raises(UserError, match="another bundle"):
        Labeller(tiny.folder, "0" * 64, out, "fp32", False)


def test_a_frame_that_the_disk_withheld_is_tried_again(
    tiny: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a damaged one is not."""
    source, out = frames(tmp_path / "in", 3), tmp_path / "out"
    (source / "drive0" / "damaged.jpg").write_bytes(b"no image")
    read = Path.read_bytes

    def failing(path: Path) -> bytes:
        if path.name == "001.png":
            raise OSError(5, "Input/output error", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", failing)
    shards = shards_of(source, 2)
    for shard in shards:
        Labeller(tiny.folder, tiny.digest, out, "fp32", False).label(shard)
    monkeypatch.undo()
    errors = {row["file"]: row["error"] for s in shards for row in rows_of(s.table(out))}
    assert errors["drive1/001.png"] == f"{UNREAD} (Input/output error)"
    before = {shard.table(out): shard.table(out).stat().st_mtime_ns for shard in shards}
    found = label(Archive(bundle=tiny, source=source, out=out, workers=1, shard=2))
    assert (found.frames, list(found.unread)) == (3, ["drive0/damaged.jpg"])
    assert [path.stat().st_mtime_ns != at for path, at in before.items()] == [False, True]


def test_the_least_sure_come_first(tiny: Bundle, tmp_path: Path) -> None:
    source, out = frames(tmp_path / "in", 6), tmp_path / "out"
    label(Archive(bundle=tiny, source=source, out=out, workers=1), rank=True)
    sure = [float(row["confidence"]) for row in rows(out)]
    assert sure == sorted(sure)
    assert len(set(sure)) > 1


def test_a_worker_that_is_killed_loses_nothing(
    tiny: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = frames(tmp_path / "in", 40), tmp_path / "out"
    killed, pools = list[int](), list[object]()
    original = module.ProcessPoolExecutor

    def pool(*args: object) -> object:
        pools.append(original(*args))  # type: ignore[arg-type]
        return pools[-1]

    def kill() -> None:
        while not any((out / "shards").glob("*.csv")):
            time.sleep(0.005)
        killed.append(next(iter(pools[0]._processes)))  # type: ignore[attr-defined]
        os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setattr(module, "ProcessPoolExecutor", pool)
    killer = threading.Thread(target=kill)
    killer.start()
    found = label(Archive(bundle=tiny, source=source, out=out, workers=2, shard=1))
    killer.join()
    assert killed
    assert found.frames == 40
    names = [row["file"] for row in rows(out)]
    assert len(names) == len(set(names)) == 40
    assert len(list((out / "labels").rglob("[!.]*.png"))) == 40  # a part of one may be left


def dies(_shard: object) -> None:
    os._exit(1)


def test_workers_that_always_die_are_a_failure(
    tiny: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_label", dies)
    with pytest.raises(
        Failure, match=r"died 3 times in a row, with 1 of 1 shards left, from drive0"
    ):
        label(
            Archive(bundle=tiny, source=frames(tmp_path / "in", 2), out=tmp_path / "out", workers=1)
        )


def test_mistakes_are_explained(tiny: Bundle, tmp_path: Path, kit) -> None:
    source = frames(tmp_path / "in", 1)
    good = Archive(bundle=tiny, source=source, out=tmp_path / "out", workers=1)
    (tmp_path / "empty").mkdir()
    for wrong, said in (
        ({"out": source / "labels"}, "lies in the archive"),
        ({"source": tmp_path / "none"}, "is no folder"),
        ({"source": tmp_path / "empty"}, "holds no image"),
        ({"workers": -1}, "--workers -1"),
        ({"shard": 0}, "--shard 0"),
    ):
        with pytest.raises(UserError, match=said):
            label(replace(good, **wrong))
    label(good)
    other = kit.make_bundle(tmp_path / "other", min_size=(9, 9))
    with pytest.raises(UserError, match=r"holds labels by bundle tiny .* name another --out"):
        label(replace(good, bundle=other))
    (good.out / "label.json").write_text("{}")
    with pytest.raises(UserError, match=r"label.json does not say what made the labels there"):
        label(good)


def test_ray_is_an_extra(tiny: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "serve.archive.cluster", raising=False)
    source = frames(tmp_path / "in", 1)
    with pytest.raises(UserError, match=r"--ray needs roadshift\[fleet\]: pip install it"):
        command(source, bundle=tiny.folder, out=tmp_path / "out", ray="local")


def test_each_frame_is_checked_where_asked(checked: Bundle, tmp_path: Path) -> None:
    source, out = frames(tmp_path / "in", 3), tmp_path / "out"
    (source / "drive0" / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing more")
    archive = Archive(bundle=checked, source=source, out=out, workers=1, monitor=True)
    label(archive)
    check = SelfCheck(checked, 0.25, 0.125)
    found = {row["file"]: row["monitor"] for row in rows(out)}
    for i in range(3):
        score = check(picture(i), true_image(true_labels(picture(i)))).score
        assert float(found[f"drive{i % 2}/{i:03}.png"]) == pytest.approx(score, abs=1e-3)
    assert found["drive0/broken.jpg"] == ""
    with pytest.raises(UserError, match=r"by bundle tiny \(\w+, fp32, with --monitor\), and this"):
        label(replace(archive, monitor=False))


def test_a_bundle_that_cannot_check_itself_says_so(drawn: Bundle, tmp_path: Path) -> None:
    source = frames(tmp_path / "in", 1)
    with pytest.raises(UserError, match="cannot check itself: export its run with --reconstructor"):
        label(Archive(bundle=drawn, source=source, out=tmp_path / "out", monitor=True))
