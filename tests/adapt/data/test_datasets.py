"""Every layout with its traps, and every way in which a data set can be wrong."""

import json
import logging
import sys
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from adapt.data.classes import CLASS_SETS
from adapt.data.datasets import Images, LabelledImages, labelled, unlabelled
from roadshift import UserError

RED = np.full((4, 6, 3), (200, 10, 20), np.uint8)
RED[0, 0] = 0
CITYSCAPES19 = CLASS_SETS["cityscapes19"].names
TABLE = {"classes": [{"id": 0, "name": "sky"}, {"id": 3, "name": "Road", "color": [1, 2, 3]}]}


@pytest.fixture(autouse=True)
def _no_scans(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def save(path: Path, pixels: np.ndarray) -> Path:
    """RGB in, written as the suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    assert cv2.imwrite(str(path), content)
    return path


def ids(*values: int) -> np.ndarray:
    """A 4 x 6 label whose first pixels are these ids, and the rest the last one."""
    label = np.full(24, values[-1], np.uint8)
    label[: len(values)] = values
    return label.reshape(4, 6)


def first(label: np.ndarray, count: int) -> list[int]:
    return label.ravel()[:count].tolist()


@pytest.fixture
def folder(tmp_path) -> Path:
    root = tmp_path / "own"
    for name in ("a", "b", "c"):
        save(root / f"images/{name}.jpg", RED)
        save(root / f"labels/{name}.png", ids(0, 3, 9, 255))
    (root / "classes.json").write_text(json.dumps(TABLE))
    return root


def test_gta5_labels_are_the_palettes_indices(tmp_path):
    save(tmp_path / "images/00001.png", RED)
    label = Image.fromarray(ids(7, 26, 34, 0, 31))
    label.putpalette([c for i in range(256) for c in (i, 255 - i, i // 2)])
    (tmp_path / "labels").mkdir()
    label.save(tmp_path / "labels/00001.png")
    pairs = labelled(f"gta5:{tmp_path}")
    assert pairs.classes == CITYSCAPES19
    assert first(pairs.label(0), 5) == [0, 13, 255, 255, 16]
    assert np.array_equal(pairs.image(0), RED)


def test_labels_of_fewer_than_eight_bits_keep_their_ids(tmp_path):
    save(tmp_path / "images/1.png", RED)
    (tmp_path / "labels").mkdir()
    label = Image.fromarray(ids(7, 8, 11))
    label.putpalette([i % 256 for i in range(48)])
    label.save(tmp_path / "labels/1.png", bits=4)
    assert first(labelled(f"gta5:{tmp_path}").label(0), 3) == [0, 1, 2]
    bits = np.zeros((4, 6), np.uint8)
    bits[0, 0] = 1
    Image.fromarray(bits * 255).convert("1").save(tmp_path / "labels/1.png")
    pairs = labelled(f"folder:{tmp_path}@camvid11")
    assert first(pairs.label(0), 2) == [1, 0]


def test_synthia_classes_are_the_red_channel_of_16_bits(tmp_path):
    save(tmp_path / "RGB/0000000.png", RED)
    label = np.stack([ids(3, 21, 13, 1, 17), ids(7), ids(0)], -1).astype(np.uint16)
    label[..., 1] = 700
    save(tmp_path / "GT/LABELS/0000000.png", label)
    pairs = labelled(f"synthia:{tmp_path}")
    assert pairs.classes == CLASS_SETS["cityscapes16"].names
    assert first(pairs.label(0), 5) == [0, 3, 255, 9, 11]
    assert first(pairs.with_classes(CITYSCAPES19).label(0), 5) == [0, 3, 255, 10, 12]


def test_cityscapes(tmp_path):
    name = "x_000000_000019"
    for split in ("train", "val"):
        save(tmp_path / f"leftImg8bit/{split}/x/{name}_leftImg8bit.png", RED)
    save(tmp_path / f"gtFine/val/x/{name}_gtFine_labelIds.png", ids(7, 33, 0, 255))
    save(tmp_path / f"gtFine/val/x/{name}_gtFine_color.png", RED)
    pairs = labelled(f"cityscapes:{tmp_path}#val")
    assert pairs.images.names == (f"x/{name}_leftImg8bit.png",)
    assert first(pairs.label(0), 4) == [0, 18, 255, 255]
    assert len(unlabelled(f"cityscapes:{tmp_path}")) == 1
    with pytest.raises(UserError, match=r"no split 'test'; splits there: train, val; write city"):
        unlabelled(f"cityscapes:{tmp_path}#test")


def test_cityscapes_without_labels_is_a_target(tmp_path):
    save(tmp_path / "leftImg8bit/train/x/x_0_leftImg8bit.png", RED)
    images = unlabelled(f"cityscapes:{tmp_path}")
    assert images.classes == CITYSCAPES19
    assert np.array_equal(images.image(0), RED)
    wanted = "none of the 1 images has a label in .*gtFine/train; wanted x/x_0_gtFine_labelIds.png"
    with pytest.raises(UserError, match=wanted):
        labelled(f"cityscapes:{tmp_path}")


def test_camvid_takes_train_when_no_split_is_named(tmp_path):
    for split, values in {"train": (3, 10, 11), "val": (0, 0)}.items():
        save(tmp_path / f"{split}/0001TP_1.png", RED)
        save(tmp_path / f"{split}annot/0001TP_1.png", ids(*values))
    assert first(labelled(f"camvid:{tmp_path}").label(0), 3) == [3, 10, 255]
    assert first(labelled(f"camvid:{tmp_path}#val").label(0), 1) == [0]


def test_a_split_that_is_not_there(tmp_path):
    for inside in ("val", "valannot"):
        save(tmp_path / inside / "1.png", ids(0))
    default = "no split 'train', which is taken when none is named; splits there: val; write camvid"
    with pytest.raises(UserError, match=default):
        labelled(f"camvid:{tmp_path}")
    with pytest.raises(UserError, match="no split 'dusk'; splits there: val; write camvid"):
        labelled(f"camvid:{tmp_path}#dusk")


def test_folder_pairs_by_stem_and_maps_by_classes_json(folder):
    pairs = labelled(f"folder:{folder}")
    assert pairs.images.names == ("a.jpg", "b.jpg", "c.jpg")
    assert pairs.classes == pairs.images.classes == ("sky", "road")
    assert pairs.palette == ((70, 130, 180), (1, 2, 3))
    assert first(pairs.label(2), 4) == [0, 1, 255, 255]
    assert pairs.label(2).dtype == np.uint8
    other = pairs.with_classes(("road", "car"))
    assert first(other.label(2), 4) == [255, 0, 255, 255]
    assert other.palette == ((1, 2, 3), (0, 0, 142))


def test_folder_with_classes_from_elsewhere(folder, tmp_path):
    (folder / "classes.json").rename(tmp_path / "other.json")
    assert labelled(f"folder:{folder}@{tmp_path}/other.json").classes == ("sky", "road")
    by_set = labelled(f"folder:{folder}@camvid11")
    assert first(by_set.label(0), 3) == [0, 3, 9]
    with pytest.raises(
        UserError, match=r"has labels but no classes.json .*@FILE.json or @camvid11"
    ):
        labelled(f"folder:{folder}")
    assert unlabelled(f"folder:{folder}").classes is None
    with pytest.raises(UserError, match="unknown class set 'camvid12': did you mean 'camvid11'"):
        labelled(f"folder:{folder}@camvid12")


def test_folder_cut_in_splits(folder, tmp_path):
    (tmp_path / "cut").mkdir()
    folder.rename(tmp_path / "cut/train")
    (tmp_path / "cut/train/classes.json").rename(tmp_path / "cut/classes.json")
    assert len(labelled(f"folder:{tmp_path}/cut")) == 3
    assert len(labelled(f"folder:{tmp_path}/cut#train/!b*")) == 2
    with pytest.raises(UserError, match="no split 'test'; splits there: train"):
        unlabelled(f"folder:{tmp_path}/cut#test")


def test_bare_images_are_a_target(tmp_path):
    for suffix in ("png", "jpg", "jpeg", "bmp", "webp", "JPG"):
        save(tmp_path / f"{suffix}.{suffix}", RED)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._png.png").write_text("left by an archive")
    save(tmp_path / "deeper/7.png", RED)
    images = unlabelled(f"folder:{tmp_path}")
    assert images.names == ("JPG.JPG", "bmp.bmp", "jpeg.jpeg", "jpg.jpg", "png.png", "webp.webp")
    assert all(images.image(i).shape == (4, 6, 3) for i in range(len(images)))


def test_patterns(folder):
    def names(text: str) -> str:
        return "".join(Path(n).stem for n in unlabelled(f"folder:{folder}#{text}").names)

    assert names("[ab]*") == "ab"
    assert names("!a*") == "bc"
    assert names("!c") == "ab"
    with pytest.raises(
        UserError, match=r"none of the 3 images in .*/images matches the pattern 'z"
    ):
        names("z*")


def test_a_path_may_contain_the_marks(folder):
    odd = folder.rename(folder.parent / "odd@place#1")
    assert len(labelled(f"folder:{odd}")) == 3
    assert len(labelled(f"folder:{odd}@camvid11#a*")) == 1


def test_toytown():
    images, pairs = unlabelled("toytown:camera#val"), labelled("toytown:game")
    assert (len(pairs), len(images)) == (2000, 200)
    assert images.image(0).shape == (128, 256, 3)
    label = pairs.label(1)
    assert label.shape == (128, 256)
    assert set(np.unique(label)) <= {*range(len(pairs.classes)), 255}
    seeds = [
        {name.rpartition("_")[2] for name in unlabelled(f"toytown:{city}#{split}").names}
        for city in ("game", "camera")
        for split in ("train", "val")
    ]
    assert len(set().union(*seeds)) == sum(map(len, seeds))
    assert labelled("toytown:game@cityscapes13").classes == CLASS_SETS["cityscapes13"].names
    with pytest.raises(UserError, match="unknown toytown city 'gane': did you mean 'game'"):
        unlabelled("toytown:gane")
    with pytest.raises(UserError, match="no split 'test'; splits there: train, val"):
        unlabelled("toytown:game#test")


OPENED: list[str] = []
LISTENING: list[bool] = []


def _listen(event: str, args: tuple) -> None:
    if LISTENING and event in {"open", "os.listdir", "os.scandir"}:
        OPENED.append(str(args[0]))


@pytest.mark.parametrize("kind", ["gta5", "synthia", "camvid", "cityscapes", "folder"])
def test_a_target_never_comes_near_its_labels(kind, tmp_path, folder):
    places = {
        "gta5": ("images/1.png", "labels/1.png"),
        "synthia": ("RGB/1.png", "GT/LABELS/1.png"),
        "camvid": ("train/1.png", "trainannot/1.png"),
        "cityscapes": (
            "leftImg8bit/train/x/1_leftImg8bit.png",
            "gtFine/train/x/1_gtFine_labelIds.png",
        ),
        "folder": ("images/1.png", "labels/1.png"),
    }
    image, label = places[kind]
    save(tmp_path / kind / image, RED)
    save(tmp_path / kind / label, ids(3, 7))
    sys.addaudithook(_listen)
    OPENED.clear()
    LISTENING.append(True)
    images = unlabelled(f"{kind}:{tmp_path / kind}")
    images.image(0)
    LISTENING.clear()
    mark = label.split("/")[0]
    assert any(image.split("/")[0] in path for path in OPENED)
    assert not [path for path in OPENED if f"/{mark}" in path]
    # Nor does it carry a way to them.
    assert mark not in repr(images)


def test_a_labelled_set_is_no_target():
    assert not issubclass(LabelledImages, Images)


def test_images_travel_to_the_loaders_processes(folder):
    pairs = labelled(f"folder:{folder}")
    again = ForkingPickler.loads(ForkingPickler.dumps(pairs))
    assert np.array_equal(again.label(0), pairs.label(0))
    assert again.fingerprint == pairs.fingerprint


def test_fingerprints_follow_the_content_and_not_the_place(folder, tmp_path):
    before, target = labelled(f"folder:{folder}"), unlabelled(f"folder:{folder}")
    was = before.fingerprint, target.fingerprint
    moved = folder.rename(tmp_path / "moved")
    again = labelled(f"folder:{moved}")
    assert (again.fingerprint, unlabelled(f"folder:{moved}").fingerprint) == was
    assert again.with_classes(("road",)).fingerprint != was[0]
    save(moved / "labels/a.png", np.arange(24, dtype=np.uint8).reshape(4, 6) % 4)
    assert labelled(f"folder:{moved}").fingerprint != was[0]
    assert unlabelled(f"folder:{moved}").fingerprint == was[1]
    (moved / "images/a.jpg").write_bytes(b"longer than it was" * 100)
    assert unlabelled(f"folder:{moved}").fingerprint != was[1]


def test_unknown_kind():
    with pytest.raises(UserError, match="unknown kind of data 'citiscapes': did you mean 'citysca"):
        labelled("citiscapes:/x")
    with pytest.raises(
        UserError, match="'/data/x' does not say what kind of data it is; write KIND"
    ):
        unlabelled("/data/x")
    with pytest.raises(UserError, match="'gta5:' names no path; write gta5:/path/to/the/data"):
        unlabelled("gta5:")
    with pytest.raises(UserError, match="'toytown' names no path; write toytown:game"):
        unlabelled("toytown")


def test_a_path_that_is_not_there(folder):
    wanted = rf"there is no folder {folder}/im/deep; the nearest that exists is {folder} \(folders"
    with pytest.raises(UserError, match=wanted + r" in it: images, labels\); correct the path"):
        labelled(f"gta5:{folder}/im/deep")
    with pytest.raises(UserError, match=r"classes.json is a file; give the folder that holds"):
        labelled(f"gta5:{folder}/classes.json")


def test_a_folder_of_another_kind(folder):
    with pytest.raises(
        UserError, match=r"has no folder leftImg8bit/ \(there: images, labels\); give"
    ):
        unlabelled(f"cityscapes:{folder}")
    with pytest.raises(UserError, match=r"has no folder RGB/ \(there: images, labels\); give"):
        unlabelled(f"synthia:{folder}")


def test_an_empty_folder(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(UserError, match=r"no image in .*/images .*; wanted files ending in .bmp"):
        unlabelled(f"folder:{tmp_path}")


def test_a_folder_that_may_not_be_read(folder, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(UserError, match=r"cannot look into .* \(Permission denied\); make it read"):
        unlabelled(f"folder:{folder}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not a readable JSON file"),
        ("[]", 'has no list "classes"; wanted'),
        ('{"classes": [{"id": 1}]}', r'has the entry {"id": 1}; wanted'),
        ('{"classes": ["road"]}', 'has the entry "road"; wanted'),
        ('{"classes": [{"id": true, "name": "road"}]}', "has the entry"),
        ('{"classes": [{"id": 255, "name": "road"}]}', "gives 'road' the id 255; ids are 0 to"),
        ('{"classes": [{"id": -1, "name": "road"}]}', "gives 'road' the id -1; ids are 0 to"),
        (
            '{"classes": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}',
            "gives id 1 twice, for a and b",
        ),
        ('{"classes": [{"id": 1, "name": "void"}]}', "names no class to learn"),
        (
            json.dumps({"classes": [{"id": 256 + i, "name": f"c{i}"} for i in range(256)]}),
            "names 256 classes; at most 255 fit in a label map; leave some out",
        ),
        ('{"classes": [{"id": 1, "name": "a", "color": [1, 2]}]}', "gives 'a' the color .1, 2."),
        ('{"classes": [{"id": 1, "name": "a", "color": [1, 2, 256]}]}', "gives 'a' the color"),
    ],
)
def test_a_malformed_classes_json(folder, text, message):
    (folder / "classes.json").write_text(text)
    with pytest.raises(UserError, match=f"classes.json {message}"):
        labelled(f"folder:{folder}")


def test_a_missing_classes_file(folder):
    with pytest.raises(UserError, match=r"nowhere.json is not a readable JSON file .*; wanted"):
        labelled(f"folder:{folder}@nowhere.json")


def test_two_ids_of_one_class_and_void(folder):
    entries = [(0, "sky"), (3, "tree"), (9, "vegetation"), (255, "void")]
    table = {"classes": [{"id": number, "name": name} for number, name in entries]}
    (folder / "classes.json").write_text(json.dumps(table))
    pairs = labelled(f"folder:{folder}")
    assert pairs.classes == ("sky", "vegetation")
    assert first(pairs.label(0), 4) == [0, 1, 1, 255]


def test_labels_of_other_classes(folder):
    for path in (folder / "labels").iterdir():
        save(path, ids(40, 41, 255))
    wanted = r"labels of other classes: they hold the ids 40, 41, 255, wanted 0 sky, 3 road; check"
    with pytest.raises(UserError, match=wanted):
        labelled(f"folder:{folder}")


def test_one_label_of_ignored_pixels_is_no_reason(folder):
    save(folder / "labels/a.png", ids(255))
    assert len(labelled(f"folder:{folder}")) == 3


def test_labels_in_colour(folder):
    for path in (folder / "labels").iterdir():
        save(path, RED)
    pairs = labelled(f"folder:{folder}")
    with pytest.raises(
        UserError, match=r"a.png has 3 channels of colour, not one class id per pixel"
    ):
        pairs.label(0)


def test_labels_of_real_numbers(folder, monkeypatch):
    pairs = labelled(f"folder:{folder}")
    monkeypatch.setattr(cv2, "imdecode", lambda *_: np.zeros((4, 6), np.float32))
    with pytest.raises(
        UserError, match=r"a.png holds float32 numbers, not class ids of 8 or 16 bits"
    ):
        pairs.label(0)


def test_images_without_label_are_left_out(folder, caplog):
    (folder / "labels/b.png").unlink()
    with caplog.at_level(logging.WARNING):
        assert labelled(f"folder:{folder}").images.names == ("a.jpg", "c.jpg")
    assert "1 of 3 images have no label and are left out" in caplog.text
    with pytest.raises(
        UserError, match="1 of 3 images have no label; add them, or leave out --strict"
    ):
        labelled(f"folder:{folder}", strict=True)
    assert len(unlabelled(f"folder:{folder}", strict=True)) == 3


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp"])
def test_damaged_images(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    path = save(tmp_path / f"a.{suffix}", noise)
    whole = path.read_bytes()
    images = unlabelled(f"folder:{tmp_path}")
    assert images.image(0).shape == (40, 60, 3)
    for part in (0.5, 0.98):
        path.write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(
            UserError, match=rf"a.{suffix} is truncated .*`roadshift data scan folder:"
        ):
            images.image(0)
    path.write_bytes(b"")
    with pytest.raises(UserError, match=rf"a.{suffix} is empty \(0 bytes\); repair it, or run"):
        images.image(0)
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(UserError, match=rf"a.{suffix} is damaged or no image"):
        images.image(0)
    path.unlink()
    with pytest.raises(UserError, match=rf"a.{suffix} cannot be read \(No such file"):
        images.image(0)


def test_a_jpeg_with_a_thumbnail_is_truncated_too(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    whole = cv2.imencode(".jpg", noise)[1].tobytes()
    thumbnail = b"\xff\xe1" + (len(whole) + 2).to_bytes(2, "big") + whole
    path = tmp_path / "a.jpg"
    path.write_bytes(whole[:2] + thumbnail + whole[2:])
    images = unlabelled(f"folder:{tmp_path}")
    assert images.image(0).shape == (40, 60, 3)
    path.write_bytes(whole[:2] + thumbnail + whole[2 : len(whole) // 2])
    with pytest.raises(UserError, match="is truncated"):
        images.image(0)


def test_a_damaged_palette_label(tmp_path):
    save(tmp_path / "images/1.png", RED)
    (tmp_path / "labels").mkdir()
    label = Image.fromarray(ids(7, 8, 11))
    label.putpalette(range(255))
    path = tmp_path / "labels/1.png"
    label.save(path)
    pairs = labelled(f"gta5:{tmp_path}")
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 6] ^= 255
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"labels/1.png is damaged \("):
        pairs.label(0)


def test_a_label_of_another_size(folder):
    save(folder / "labels/b.png", np.zeros((5, 6), np.uint8))
    pairs = labelled(f"folder:{folder}")
    with pytest.raises(
        UserError, match=r"labels/b.png is 5x6 while its image is 4x6; repair it, or run"
    ):
        pairs.label(1)


def test_a_label_beside_a_broken_image(folder):
    (folder / "images/a.jpg").write_bytes(b"")
    with pytest.raises(UserError, match=r"images/a.jpg cannot be read"):
        labelled(f"folder:{folder}").label(0)


def test_a_photograph_taken_upright(tmp_path):
    """The label has the size of the image as it is shown."""
    (tmp_path / "images").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RED).save(tmp_path / "images/a.jpg", exif=exif)
    save(tmp_path / "labels/a.png", np.zeros((6, 4), np.uint8))
    pairs = labelled(f"folder:{tmp_path}@camvid11")
    assert pairs.image(0).shape == (6, 4, 3)
    assert pairs.label(0).shape == (6, 4)


def test_no_class_of_those_asked_for(folder):
    with pytest.raises(
        UserError, match=r"own labels none of the classes bus, car; it has sky, road"
    ):
        labelled(f"folder:{folder}").with_classes(("bus", "car"))


@pytest.mark.parametrize(
    ("spec", "count", "shape", "present"),
    [
        ("camvid:{}/camvid#train/0001TP*", 62, (360, 480), {"sky", "road", "sidewalk", "car"}),
        ("camvid:{}/camvid#val/!0001TP*", 101, (360, 480), {"sky", "road", "building"}),
        ("cityscapes:{}/cityscapes_sample#val", 1, (1024, 2048), {"sky", "road", "traffic sign"}),
        ("synthia:{}/synthia_sample", 1, (760, 1280), {"sky", "road", "building", "car"}),
        ("folder:{}/airsim@{bench}/airsim.json#train", 1367, (144, 256), {"sky", "pole", "fence"}),
    ],
)
def test_real_files(shared_data, spec, count, shape, present):
    bench = Path(__file__).resolve().parents[3] / "bench"
    pairs = labelled(spec.format(shared_data, bench=bench))
    assert len(pairs) == count
    label = pairs.label(0)
    assert label.shape == pairs.image(0).shape[:2] == shape
    seen = {pairs.classes[i] for i in np.unique(label) if i != 255}
    assert present <= seen
    sky = label == pairs.classes.index("sky")
    # Sky is above the road, whatever the numbers are.
    assert np.nonzero(sky)[0].mean() < np.nonzero(label == pairs.classes.index("road"))[0].mean()
