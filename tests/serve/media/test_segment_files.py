import json
import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadshift import Failure, UserError
from serve.media.codec import decode, encode_jpeg, encode_png
from serve.media.paint import overlay
from serve.media.segment_files import segment
from serve.runtime.engine import Engine


@pytest.fixture(scope="module")
def engine(tiny):
    return Engine(tiny, threads=1)


@pytest.fixture
def streets(tmp_path, kit):
    folder = tmp_path / "streets"
    folder.mkdir()
    for i in range(3):
        (folder / f"{i}.png").write_bytes(encode_png(kit.random_image(i)))
    (folder / "notes.txt").write_text("no image")
    return folder


def ids(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_image(engine, streets, tmp_path, kit):
    out = tmp_path / "new" / "out"
    report = segment(engine, streets / "1.png", out)
    assert names(out) == ["1.labels.png", "1.overlay.jpg", "classes.json"]
    labels = kit.true_labels(kit.random_image(1))
    assert np.array_equal(ids(out / "1.labels.png"), labels)
    seen = decode((out / "1.overlay.jpg").read_bytes())
    wanted = encode_jpeg(overlay(kit.random_image(1), labels, kit.palette))
    assert np.array_equal(seen, decode(wanted))
    classes = json.loads((out / "classes.json").read_text())["classes"]
    assert classes[1] == {"id": 1, "name": "red", "color": [250, 0, 0]}
    assert report.written == [out / "1.labels.png", out / "1.overlay.jpg"]


def test_folder_and_what_is_up_to_date(engine, streets, tmp_path):
    out, seen = tmp_path / "out", []
    report = segment(engine, streets, out, progress=lambda *done: seen.append(done))
    assert len(report.written) == 6
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert segment(engine, streets, out)[:2] == ([], 3)

    later = time.time() + 5
    os.utime(streets / "1.png", (later, later))
    (out / "2.overlay.jpg").unlink()
    again = segment(engine, streets, out)
    assert [path.name[0] for path in again.written] == ["1", "1", "2", "2"]
    assert again.skipped == 1
    assert len(segment(engine, streets, out, overwrite=True).written) == 6


def test_answers_older_than_the_bundle_are_made_again(engine, streets, tmp_path):
    out = tmp_path / "out"
    segment(engine, streets, out)
    for path in (*out.iterdir(), *streets.iterdir()):
        os.utime(path, (1e9, 1e9 + path.name.count("l")))
    assert segment(engine, streets, out).skipped == 0


def test_images_of_one_name_and_two_kinds(engine, streets, tmp_path, kit):
    (streets / "1.jpg").write_bytes(encode_jpeg(kit.random_image(9)))
    segment(engine, streets, tmp_path / "out")
    assert {"1.jpg.labels.png", "1.png.labels.png", "0.labels.png"} <= set(names(tmp_path / "out"))


def test_a_broken_image_in_a_folder_is_told_after_the_rest(engine, streets, tmp_path, kit):
    good = (streets / "0.png").read_bytes()
    (streets / "0.png").write_bytes(good[: len(good) // 2])
    (streets / "1.png").write_bytes(b"")
    (streets / "small.png").write_bytes(encode_png(kit.random_image(1, 4, 4)))
    with pytest.raises(Failure) as caught:
        segment(engine, streets, tmp_path / "out")
    message = str(caught.value)
    assert message.startswith("3 of 4 images could not be segmented, the others are written: ")
    assert "0.png: the PNG image is truncated" in message
    assert "1.png: wanted a JPEG, PNG or WebP image, got an empty body" in message
    assert "small.png: this bundle takes images from 8x8" in message
    assert names(tmp_path / "out") == ["2.labels.png", "2.overlay.jpg", "classes.json"]


def test_a_broken_image_alone_is_the_users_error(engine, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(UserError, match=r"a\.jpg: the JPEG image has a broken header"):
        segment(engine, tmp_path / "a.jpg", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_image_that_vanishes(engine, streets, tmp_path, monkeypatch):
    def gone(path):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(Path, "read_bytes", gone)
    with pytest.raises(UserError, match=r"could not be read \(No such file"):
        segment(engine, streets / "1.png", tmp_path / "out")


def test_wrong_inputs(engine, tmp_path):
    with pytest.raises(UserError, match=r"nothing\.png does not exist: wanted an image, a folder"):
        segment(engine, tmp_path / "nothing.png", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty holds no image: wanted files that end in \.jpg"):
        segment(engine, tmp_path / "empty", tmp_path / "out")
    (tmp_path / "a.gif").touch()
    with pytest.raises(UserError, match=r"ends in '\.gif'; wanted an image"):
        segment(engine, tmp_path / "a.gif", tmp_path / "out")


def test_wrong_outputs(engine, streets, tmp_path):
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match=r"wanted a folder, and .*file is a file"):
            segment(engine, streets, out)
    with pytest.raises(UserError, match=r"is the input folder"):
        segment(engine, streets, streets)


def test_a_full_disk_leaves_what_was_there(engine, streets, tmp_path, monkeypatch):
    out = tmp_path / "out"
    segment(engine, streets, out)
    before = {path: path.read_bytes() for path in out.iterdir()}
    write = Path.write_bytes

    def full(path, content):
        write(path, content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(
        Failure, match=r"could not write .*0\.labels\.png \(No space left on device\)"
    ):
        segment(engine, streets, out, overwrite=True)
    assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_a_rename_that_fails_leaves_what_was_there(engine, streets, tmp_path, monkeypatch):
    out = tmp_path / "out"
    segment(engine, streets / "0.png", out)
    (streets / "0.png").write_bytes(encode_png(np.zeros((8, 8, 3), np.uint8)))
    before = {path: path.read_bytes() for path in out.iterdir()}

    def refused(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "replace", refused)
    with pytest.raises(Failure, match=r"could not write .*0\.labels\.png \(Input/output error\)"):
        segment(engine, streets / "0.png", out, overwrite=True)
    assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_a_folder_that_cannot_be_made(engine, streets, tmp_path, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(Failure, match=r"could not make the folder .*out: Permission denied"):
        segment(engine, streets, tmp_path / "out")


def test_real_frames(engine, shared_data, tmp_path):
    frames = sorted((shared_data / "clip").glob("*.jpg"))[:2]
    for frame in frames:
        (tmp_path / frame.name).symlink_to(frame)
    segment(engine, tmp_path, tmp_path / "out")
    for frame in frames:
        image = decode(frame.read_bytes())
        labels = ids(tmp_path / "out" / f"{frame.stem}.labels.png")
        assert labels.shape == (1024, 2048)
        dark = np.dstack([np.full(image.shape[:2], 64, np.uint8), image])
        assert np.array_equal(labels, dark.argmax(-1))
