"""--map: several classes of either city trained, scored and exported as one."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import roadshift
from adapt import checkpoint
from adapt.data.cities import open_cities
from adapt.data.datasets import labelled
from adapt.data.reading.class_map import read_class_map
from adapt.evaluation.compare import Request, compare
from adapt.run import Run
from export.frames import calibration_frames, frames_with_labels
from roadshift import UserError

FLAT = {"Road": "ground", "Sidewalk": "ground"}


def write(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "map.json"
    path.write_text(json.dumps(content))
    return path


def test_labels_of_mapped_classes_become_one() -> None:
    plain = labelled("toytown:game")
    mapped = plain.mapped({"road": "ground", "sidewalk": "ground"})
    assert "ground" in mapped.classes
    assert len(mapped.classes) == len(plain.classes) - 1
    assert len(mapped.palette) == len(mapped.classes)
    ground = mapped.label(0) == mapped.classes.index("ground")
    both = np.isin(plain.label(0), [plain.classes.index(c) for c in ("road", "sidewalk")])
    assert np.array_equal(ground, both)
    assert ground.any()
    sky = mapped.label(0) == mapped.classes.index("sky")
    assert np.array_equal(sky, plain.label(0) == plain.classes.index("sky"))
    assert mapped.fingerprint != plain.fingerprint


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "is no class map; wanted"),
        ({}, "is no class map"),
        ({"car": 3}, "is no class map"),
        ({"car": "truck", "truck": "car"}, "a cycle"),
        ({"car": "truck", "truck": "vehicle"}, "map every class at once to its last name"),
    ],
)
def test_what_is_no_map_is_said(content: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read_class_map(write(tmp_path, content))


def test_a_file_that_is_not_there_or_no_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--map .*nowhere\.json is not a readable JSON file"):
        read_class_map(tmp_path / "nowhere.json")


def test_a_class_that_neither_city_has_is_named(tmp_path: Path) -> None:
    run = Run(source="toytown:game", target="toytown:camera", out=tmp_path,
              map=str(write(tmp_path, {"rode": "ground"})))  # fmt: skip
    with pytest.raises(UserError, match=r"rode.*road"):
        open_cities(run)


def test_a_mapped_run_is_scored_and_exported_by_its_map(tmp_path: Path) -> None:
    path = write(tmp_path, FLAT)
    command = (
        "adapt source_only --source toytown:game#train/game_00000* --target toytown:camera "
        f"--weights none --steps 1 --batch 1 --crop 32x64 --workers 0 --map {path} "
        f"--out {tmp_path / 'run'}"
    )
    for line in (
        command, f"evaluate {tmp_path / 'run'} --data toytown:camera#val/camera_01500*"
    ):  # fmt: skip
        with pytest.raises(SystemExit) as end:
            roadshift.main(line.split())
        assert end.value.code == 0
    info = checkpoint.read(tmp_path / "run").info
    the_student_knows_it(tmp_path)
    assert info.class_map == {"road": "ground", "sidewalk": "ground"}
    scored = next(iter(info.scores.values()))
    assert "ground" in scored["iou"]
    assert "road" not in scored["iou"]
    frames = frames_with_labels("toytown:camera#val", info.classes, info.class_map)
    label = frames.read(0).label
    assert label is not None
    assert (label == info.classes.index("ground")).any()
    assert (
        calibration_frames("toytown:camera#val", ("ground",), info.class_map).read(0).label is None
    )


def the_student_knows_it(folder: Path) -> None:
    """A student is scored by its teacher's map, and compared with runs of that map alone."""
    run, student, plain = folder / "run", folder / "student", folder / "plain"
    command = (
        f"distill {run} --out {student} --student lraspp_mobilenet_v2 --weights none --steps 1 "
        "--batch 2 --crop 32x64 --workers 0 --target toytown:camera#train/camera_01000*"
    )
    with pytest.raises(SystemExit) as end:
        roadshift.main(command.split())
    assert end.value.code == 0
    info = checkpoint.read_info(student)
    data = "toytown:camera#val/camera_01500*"
    assert "ground" in compare(Request([run, student], data))[0].classes
    shutil.copytree(student, plain)
    checkpoint.write_info(plain, replace(info, class_map={}))
    with pytest.raises(UserError, match="were trained with different class maps"):
        compare(Request([run, plain], data))
