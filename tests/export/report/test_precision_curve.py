from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest

from export.precision.budget import Budget, Measured
from export.precision.search import SearchStep
from export.report.precision_curve import curve

SVG = "{http://www.w3.org/2000/svg}"


def step(kept: int, measured: Measured, holds: bool) -> SearchStep:
    return SearchStep(tuple(f"net.layer{i}" for i in range(kept)), measured, holds)


LABELLED = [
    step(0, Measured(0.1, 0.0, 1.9, 6.8, 61.0), False),
    step(1, Measured(0.05, 0.0, 0.9, 2.5, 64.0), False),
    step(2, Measured(0.01, 0.0, 0.4, 1.0, 70.0), True),
]


def drawn(trail, budget=None) -> ElementTree.Element:
    return ElementTree.fromstring(curve(trail, budget or Budget()))


def texts(root: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def dots(root: ElementTree.Element) -> list[tuple[float, float, str]]:
    """(x, y, class) of those in the plot, which come before those of the list."""
    circles = [e.attrib for e in root.iter(f"{SVG}circle")]
    return [(float(c["cx"]), float(c["cy"]), c["class"]) for c in circles[: len(circles) // 2]]


def test_one_dot_a_step_where_its_numbers_are() -> None:
    root = drawn(LABELLED)
    (x0, y0, k0), (x1, y1, k1), (x2, y2, k2) = dots(root)
    assert (k0, k1, k2) == ("over", "over", "holds")
    assert x0 < x1 < x2
    assert (x2 - x1) / (x1 - x0) == pytest.approx(2, rel=0.01)
    assert y0 < y1 < y2  # less is lost further down
    assert (y1 - y0) / (y2 - y1) == pytest.approx(2, rel=0.01)


def test_the_budget_is_a_line_between_what_holds_and_what_does_not() -> None:
    root = drawn(LABELLED)
    (line,) = [e for e in root.iter(f"{SVG}line") if e.get("class") == "budget"]
    assert line.get("y1") == line.get("y2")
    at = float(line.attrib["y1"])
    assert [y > at for _, y, _ in dots(root)] == [False, False, True]
    assert "budget 0.5" in texts(root)
    assert "mIoU lost, points" in texts(root)


def test_the_worst_class_is_drawn_where_it_decided() -> None:
    trail = [
        step(0, Measured(0.1, 0.0, 0.25, 2.84, 61.0), False),
        step(1, Measured(0.1, 0.0, 0.17, 2.04, 61.0), False),
        step(2, Measured(0.1, 0.0, 0.03, 0.76, 61.0), True),
    ]
    root = drawn(trail)
    (line,) = [e for e in root.iter(f"{SVG}line") if e.get("class") == "budget"]
    assert [y > float(line.attrib["y1"]) for _, y, _ in dots(root)] == [False, False, True]
    assert {"IoU of the worst class lost, points", "budget 2"} <= set(texts(root))


def test_without_labels_the_share_of_labels_is_drawn() -> None:
    trail = [
        s._replace(measured=s.measured._replace(miou_drop=None, class_drop=None)) for s in LABELLED
    ]
    root = drawn(trail, Budget(max_disagreement=3))
    (line,) = [e for e in root.iter(f"{SVG}line") if e.get("class") == "budget"]
    assert [y > float(line.attrib["y1"]) for _, y, _ in dots(root)] == [False, False, True]
    assert {"budget 3", "labels that change, %", "10.00%"} <= set(texts(root))


def test_every_step_is_listed_with_the_group_that_went_back() -> None:
    found = texts(drawn(LABELLED))
    assert {"none", "1, net.layer0", "2, net.layer1", "-1.90", "-6.80", "70.0"} <= set(found)


def test_odd_trails_stay_in_the_picture() -> None:
    long = "net." + "<&>" * 40
    nan = Measured(math.nan, 0.0, math.nan, math.nan, 10.0)
    same = Measured(0.0, 0.0, 0.0, 0.0, 10.0)
    better = Measured(0.1, 0.0, -0.5, -0.1, 10.0)
    trail = [
        SearchStep((), nan, False),
        *[SearchStep((long,), same, True)] * 3,
        SearchStep((long,), better, True),
    ]
    root = drawn(trail)
    width, height = (float(root.attrib[k]) for k in ("width", "height"))
    numbers = [e for e in root.iter(f"{SVG}text") if e.get("class") == "number"]
    spots = [(float(e.attrib["x"]), float(e.attrib["y"])) for e in numbers]
    assert len(set(spots)) == len(trail)
    for x, y in [*spots, *((x, y) for x, y, _ in dots(root))]:
        assert 0 <= x <= width
        assert 0 <= y <= height
    assert any(text.endswith("<&>") and text.startswith("1, …") for text in texts(root))


def test_a_single_step() -> None:
    assert len(dots(drawn(LABELLED[:1]))) == 1


def test_it_is_for_light_and_dark() -> None:
    svg = curve(LABELLED, Budget())
    assert "prefers-color-scheme: dark" in svg
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")
