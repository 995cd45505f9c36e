import subprocess
import sys
import zlib

import numpy as np
import pytest

from adapt.data.classes import CLASS_SETS
from adapt.data.toytown import CITIES, CLASSES, HEIGHT, WIDTH, draw
from adapt.data.toytown.materials import KINDS
from roadshift import UserError

SEEDS = 100


@pytest.fixture(scope="module")
def scenes() -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    return {city: [draw(city, seed) for seed in range(SEEDS)] for city in CITIES}


def checksum(city: str, seed: int) -> int:
    image, label = draw(city, seed)
    return zlib.crc32(image.tobytes() + label.tobytes())


def test_names_are_cityscapes_and_enough():
    assert len(CLASSES) >= 11
    assert len(set(CLASSES)) == len(CLASSES)
    assert (
        {"pole", "traffic sign", "person"} <= set(CLASSES) <= set(CLASS_SETS["cityscapes19"].names)
    )
    assert {kind.label for kind in KINDS.values()} == set(CLASSES)


@pytest.mark.parametrize("city", CITIES)
def test_arrays_are_pictures(city, scenes):
    for image, label in scenes[city]:
        assert image.shape == (HEIGHT, WIDTH, 3) == (128, 256, 3)
        assert label.shape == (HEIGHT, WIDTH)
        assert image.dtype == label.dtype == np.uint8
        assert image.flags.c_contiguous
        assert label.flags.c_contiguous
        assert label.max() < len(CLASSES)


@pytest.mark.parametrize("city", CITIES)
def test_a_seed_is_one_picture(city, scenes):
    for seed in (0, 7):
        image, label = draw(city, seed)
        assert np.array_equal(image, scenes[city][seed][0])
        assert np.array_equal(label, scenes[city][seed][1])


def test_another_process_draws_the_same():
    code = (
        "import sys, zlib; from adapt.data.toytown import draw; p = draw(sys.argv[1], 5);"
        "print(zlib.crc32(p[0].tobytes() + p[1].tobytes()))"
    )
    for city in CITIES:
        command = [sys.executable, "-c", code, city]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        assert int(run.stdout) == checksum(city, 5)


@pytest.mark.parametrize("city", CITIES)
def test_seeds_are_distinct_pictures(city, scenes):
    assert len({image.tobytes() for image, _ in scenes[city]}) == SEEDS
    assert len({label.tobytes() for _, label in scenes[city]}) == SEEDS


def test_cities_do_not_share_a_layout(scenes):
    pairs = zip(scenes["game"], scenes["camera"], strict=True)
    assert not any(np.array_equal(game[1], camera[1]) for game, camera in pairs)


@pytest.mark.parametrize("city", CITIES)
def test_every_class_occurs_often(city, scenes):
    """Seen in a tenth of the pictures at least, and 1 pixel in 500 over all of them."""
    counts = np.array(
        [np.bincount(label.ravel(), minlength=len(CLASSES)) for _, label in scenes[city]]
    )
    assert ((counts > 0).mean(axis=0) > 0.1).all()
    assert (counts.sum(axis=0) / counts.sum() > 0.002).all()


@pytest.mark.parametrize("city", CITIES)
def test_the_street_is_the_right_way_up(city, scenes):
    labels = np.stack([label for _, label in scenes[city]])
    sky, road = labels == CLASSES.index("sky"), labels == CLASSES.index("road")
    assert not sky[:, 3 * HEIGHT // 4 :].any()
    assert not road[:, : HEIGHT // 4].any()
    assert road[:, -1].mean() > 0.5


def test_labels_lie_on_the_shapes(scenes):
    """In the clean city only leaves are dark green: where they are seen, they are labelled."""
    leaves = agreed = moved = 0
    for image, label in scenes["game"][:20]:
        red, green, blue = image.astype(int).transpose(2, 0, 1)
        leaf = (green - red > 60) & (green - blue > 60) & (red < 70)
        vegetation = label == CLASSES.index("vegetation")
        leaves += leaf.sum()
        agreed += vegetation[leaf].sum()
        moved += np.roll(vegetation, 2, axis=1)[leaf].sum()
    assert agreed > 0.985 * leaves > 10_000
    # The measure is sharp enough to see a label two pixels off.
    assert moved < 0.92 * leaves


def test_cities_look_unlike(scenes):
    def saturation(image: np.ndarray) -> float:
        return float(np.ptp(image.astype(int), axis=-1).mean())

    def roughness(image: np.ndarray) -> float:
        return float(np.median(np.abs(np.diff(image.astype(int), axis=1))))

    looks = {
        city: {
            "saturation": np.mean([saturation(image) for image, _ in pairs]),
            "roughness": np.mean([roughness(image) for image, _ in pairs]),
            "exposure": np.std([image.mean() for image, _ in pairs]),
        }
        for city, pairs in scenes.items()
    }
    assert looks["game"]["saturation"] > 1.5 * looks["camera"]["saturation"]
    assert looks["camera"]["roughness"] > 2 * looks["game"]["roughness"]
    assert looks["camera"]["exposure"] > 2 * looks["game"]["exposure"]


def test_cities_are_laid_out_unlike(scenes):
    """The second city's camera sits at varying heights, so its road varies more."""
    road = CLASSES.index("road")
    spread = {
        city: np.std([(label == road).mean() for _, label in pairs])
        for city, pairs in scenes.items()
    }
    assert spread["camera"] > 1.3 * spread["game"]


def test_unknown_city():
    with pytest.raises(UserError, match=r"unknown city 'gane': did you mean 'game'\?"):
        draw("gane", 0)
