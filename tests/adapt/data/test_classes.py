"""Class sets, names and colours."""

import pytest

from adapt.data.classes import (
    CAMVID_IDS,
    CITYSCAPES_IDS,
    CLASS_SETS,
    GTA5_IDS,
    SYNTHIA_IDS,
    canonical,
    palette_of,
    shared,
    trained_classes,
)
from roadshift import UserError


def test_the_sets_have_their_sizes_and_one_colour_per_class():
    sizes = {name: len(s.names) for name, s in CLASS_SETS.items()}
    assert sizes["cityscapes19"] == 19
    assert sizes["cityscapes16"] == 16
    assert sizes["cityscapes13"] == 13
    assert sizes["camvid11"] == 11
    assert sizes["toytown"] >= 11
    for name, (names, palette) in CLASS_SETS.items():
        assert len(names) == len(palette) == len(set(palette)), name


def test_the_16_and_13_are_the_published_train_ids():
    names = CLASS_SETS["cityscapes19"].names
    sixteen = [*range(9), 10, 11, 12, 13, 15, 17, 18]
    assert CLASS_SETS["cityscapes16"].names == tuple(names[i] for i in sixteen)
    thirteen = [i for i in sixteen if i not in {3, 4, 5}]
    assert CLASS_SETS["cityscapes13"].names == tuple(names[i] for i in thirteen)


@pytest.mark.parametrize(
    ("ids", "number", "name"),
    [
        (CITYSCAPES_IDS, 7, "road"),
        (CITYSCAPES_IDS, 26, "car"),
        (CITYSCAPES_IDS, 33, "bicycle"),
        (GTA5_IDS, 23, "sky"),
        (GTA5_IDS, 31, "train"),
        (SYNTHIA_IDS, 3, "road"),
        (SYNTHIA_IDS, 21, "wall"),
        (SYNTHIA_IDS, 15, "traffic light"),
        (SYNTHIA_IDS, 12, "motorcycle"),
        (SYNTHIA_IDS, 11, "bicycle"),
        (SYNTHIA_IDS, 17, "rider"),
        (CAMVID_IDS, 4, "sidewalk"),
        (CAMVID_IDS, 10, "rider"),
    ],
)
def test_raw_ids(ids, number, name):
    assert ids[number] == name


def test_ids_that_nobody_trains_are_not_in_the_tables():
    assert not {-1, 0, 6, 9, 10, 14, 15, 16, 18, 29, 30, 34} & CITYSCAPES_IDS.keys()
    assert not {0, 13, 14, 22} & SYNTHIA_IDS.keys()
    assert 11 not in CAMVID_IDS


def test_other_data_sets_names_are_cityscapes_ones():
    assert canonical("Pavement") == "sidewalk"
    assert canonical("traffic_light") == "traffic light"
    assert canonical("Sign-Symbol") == "traffic sign"
    assert canonical("Tree") == "vegetation"
    assert canonical("Pedestrian") == "person"
    assert canonical("Bicyclist") == "rider"
    assert canonical("Parking  Lot") == "parking lot"


def test_shared_is_by_name_in_the_sources_order():
    assert shared(("sky", "tree", "bench", "road"), ("road", "vegetation", "sky")) == (
        *("sky", "vegetation", "road"),
    )


def test_no_shared_class():
    with pytest.raises(UserError, match=r"share no class: one has cat, the other road, car"):
        shared(("cat",), ("road", "car"))


def test_trained_classes():
    source, target = ("road", "car", "sky"), ("sky", "road")
    assert trained_classes("", source, target) == ("road", "sky")
    assert trained_classes("", source, None) == source
    assert trained_classes("cityscapes19", source, target) == CLASS_SETS["cityscapes19"].names
    assert trained_classes("car, road", source, target) == ("car", "road")
    assert trained_classes("bench", ("bench",), None) == ("bench",)


def test_an_unknown_class():
    with pytest.raises(UserError, match="unknown class 'rood': did you mean 'road'"):
        trained_classes("rood,car", ("road", "car"), ("road",))


def test_an_unknown_set():
    with pytest.raises(UserError, match="did you mean 'cityscapes19'"):
        trained_classes("cityscape19", ("road",), ("road",))


def test_classes_that_the_source_does_not_label():
    with pytest.raises(UserError, match="--classes bus: the source labels none of these; it has"):
        trained_classes("bus", ("road", "car"), ("bus",))


def test_colours_of_invented_names_are_distinct_and_stay():
    names = ("road", "bench", "statue", "kiosk", "fountain")
    palette = palette_of(names)
    assert palette[0] == (128, 64, 128)
    assert len(set(palette)) == len(names)
    assert palette_of(names[::-1]) == palette[::-1]
