"""Image-level labels: what the file may be, and the sentence for what it may not."""

import json
from pathlib import Path

import pytest
import torch
from tiny_city import write_tiny_city

import roadshift
from adapt.data.datasets import labelled
from adapt.data.image_labels import read_image_labels, write_image_labels
from roadshift import UserError

NAMES, CLASSES = ("a.png", "b.png"), ("road", "car")


def test_vectors_come_in_the_order_of_images_and_classes(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    rows = {"b.png": [0.25, 0.75], "c.png": [1.0, 0.0], "a.png": [0.5, 0.5]}
    write_image_labels(path, "shares", ("car", "street"), rows.items())
    found = read_image_labels(path, NAMES, CLASSES, "x")
    assert found.kind == "shares"
    assert found.values.tolist() == [[0.5, 0.5], [0.75, 0.25]]


def test_a_csv_file_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("presence,car,road\nb.png,1,0\na.png,1,1\n")
    found = read_image_labels(path, NAMES, CLASSES, "x")
    assert (found.kind, found.values.tolist()) == ("presence", [[1, 1], [0, 1]])


def file(kind: str = "shares", classes: object = CLASSES, **images: object) -> str:
    named = {f"{k}.png": v for k, v in images.items()}
    return json.dumps({"kind": kind, "classes": classes, "images": named})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (file(a=[0.5, 0.4], b=[1, 0]), "a.png are 0.4 or more and sum to 0.9"),
        (file(a=[1.5, -0.5], b=[1, 0]), "-0.5 or more"),
        (file(a=[1, 0]), "lacks 1 of the 2 images of camera, first b.png"),
        (file(classes=["road", "boat"], a=[1, 0], b=[1, 0]), "unknown class 'boat'"),
        (file(classes=["road"], a=[1], b=[1]), "says nothing of car"),
        (file(a=[1, 0, 0], b=[1, 0]), "wanted 2 numbers"),
        (file("presence", a=[0.5, 0.5], b=[1, 0]), "presence is 0 or 1"),
        (file("counts", a=[1, 0], b=[1, 0]), "holds no image-level labels"),
        (file(a=[float("nan"), 1], b=[1, 0]), "a.png are nan or more"),
        (file(classes=["road", "car", "Road"], a=[1, 0, 0], b=[1, 0, 0]), "class 'road' twice"),
        (file(classes=["road", 7], a=[1, 0], b=[1, 0]), "holds no image-level labels"),
        ("{", "holds no image-level labels"),
        ("[1, 2]", "holds no image-level labels"),
    ],
)
def test_a_file_that_is_none_is_refused(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_image_labels(path, NAMES, CLASSES, "camera")
    assert sentence in str(error.value)


@pytest.mark.parametrize("text", ["", "counts,road,car\na.png,1,1\n", "presence,road\na.png,x\n"])
def test_a_csv_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=str(path)):
        read_image_labels(path, NAMES, CLASSES, "camera")


@pytest.mark.parametrize("kind", ["presence", "shares"])
def test_the_command_makes_them_from_label_maps(kind: str, tmp_path: Path) -> None:
    spec, out = f"folder:{write_tiny_city(tmp_path / 'city', 3, 1.0)}", tmp_path / "labels.json"
    asked = ["data", "image_labels", spec, "--out", str(out), "--kind", kind]
    with pytest.raises(SystemExit) as end:
        roadshift.main([*asked, "--classes", "sky,road"])
    assert not end.value.code
    data = labelled(spec).with_classes(("sky", "road"))
    found = read_image_labels(out, data.images.names, data.classes, spec)
    label = torch.from_numpy(data.label(1))
    sky, road = (int((label == c).sum()) for c in (0, 1))
    wanted = [1.0, 1.0] if kind == "presence" else [sky / (sky + road), road / (sky + road)]
    assert found.kind == kind
    assert found.values[1].tolist() == pytest.approx(wanted, abs=1e-5)
