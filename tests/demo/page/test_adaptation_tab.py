"""Two bundles on one picture, in a real browser."""

import numpy as np
import pytest
from demo_page import pixel, said
from PIL import Image

TAB = "rs-adaptation"


@pytest.fixture(scope="module")
def tab(page):
    page.get_by_role("tab", name="Adaptation").click()
    page.wait_for_selector("#compared table")
    return page


def rows(page) -> dict[str, list[str]]:
    cells = page.locator("#compared tbody tr")
    found = [row.locator("th, td").all_inner_texts() for row in cells.all()]
    return {name: numbers for name, *numbers in found}


def test_the_shares_of_both_stand_side_by_side(tab) -> None:
    """The other bundle takes what is green for a building, and red for vegetation."""
    assert rows(tab) == {
        "sky": ["50.0 %", "50.0 %", "+0.0"],
        "vegetation": ["12.5 %", "37.5 %", "+25.0"],
        "building": ["37.5 %", "12.5 %", "−25.0"],
    }
    assert "differ on 50.0 % of the pixels" in tab.locator("#changed").inner_text()


def test_the_slider_moves_the_line_between_them(tab, bundle) -> None:
    assert pixel(tab, TAB, "left", 0.9, 0.9) == [*bundle.palette[0], 255]
    assert pixel(tab, TAB, "right", 0.9, 0.9) == [*bundle.palette[1], 255]
    divider = tab.locator("rs-adaptation .rs-divider")
    divider.focus()
    divider.press("ArrowLeft")
    side = tab.locator("rs-adaptation .rs-left")
    assert side.evaluate("canvas => canvas.style.clipPath").startswith("inset(0px 51% 0px")
    box = tab.locator("rs-adaptation .rs-stage").bounding_box()
    tab.mouse.click(box["x"] + box["width"] / 4, box["y"] + 40)
    assert divider.input_value() == "25"


def test_a_pixel_tells_both_classes(tab) -> None:
    box = tab.locator("rs-adaptation .rs-stage").bounding_box()
    tab.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.9 * box["height"])
    text = tab.locator("rs-adaptation .rs-readout").inner_text()
    assert "other-city: building" in text
    assert "tiny-city: vegetation" in text


def test_what_changed_is_marked(tab) -> None:
    tab.get_by_text("What changed").click()
    assert pixel(tab, TAB, "over", 0.9, 0.9)[3] == 255
    assert pixel(tab, TAB, "over", 0.9, 0.1)[3] == 0
    assert tab.locator("rs-adaptation .rs-divider").is_hidden()
    tab.get_by_text("Classes", exact=True).nth(-1).click()


def test_with_labels_there_are_scores_and_errors(tab, tmp_path, bundle) -> None:
    truth = bundle.golden()[0].labels.copy()
    truth[:32] = 0  # half of the sky is a building
    truth[:, :10] = 255
    Image.fromarray(truth).save(tmp_path / "truth.png")
    tab.set_input_files("#truth", tmp_path / "truth.png")
    tab.wait_for_function("() => document.querySelector('#changed').textContent.includes('mIoU')")
    assert "mIoU 16.7 % (other-city), 60.2 % (tiny-city)" in tab.locator("#changed").inner_text()
    assert rows(tab)["sky"] == ["50.0 %", "50.0 %", "+0.0"]
    assert rows(tab)["building"][:2] == ["0.0 %", "30.5 %"]
    assert pixel(tab, TAB, "left", 0.9, 0.9)[0] > 200  # wrong: red
    assert pixel(tab, TAB, "right", 0.9, 0.9)[1] > 130  # right: green
    assert pixel(tab, TAB, "right", 0.01, 0.9)[3] == 0  # not counted


IOU = "async ([labels, truth]) => (await import('/roadshift/static/maps.js')).iou(labels, truth, 4)"


def test_the_mean_is_over_the_classes_of_the_truth_whatever_is_predicted(tab) -> None:
    truth = [0, 0, 1, 1, 255]
    right = tab.evaluate(IOU, [[0, 0, 1, 1, 2], truth])
    assert right == {"classes": [1, 1, None, None], "mean": 1}
    more = tab.evaluate(IOU, [[0, 0, 1, 3, 2], truth])
    assert more == {"classes": [1, 0.5, None, None], "mean": 0.75}


def test_labels_of_other_classes_are_explained(tab, tmp_path) -> None:
    Image.fromarray(np.full((8, 8), 9, np.uint8)).save(tmp_path / "other.png")
    tab.set_input_files("#truth", tmp_path / "other.png")
    said(tab, "class id 9; this bundle has 0 to 2")


def test_another_picture_is_compared_too(tab) -> None:
    tab.locator("#examples button").nth(1).click()
    said(tab, "example 2: ")
    tab.wait_for_function("() => document.querySelector('#changed').textContent.includes('differ')")
    assert tab.get_by_text("Errors", exact=True).count() == 0
