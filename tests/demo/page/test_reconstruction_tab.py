"""The picture redrawn from its labels, and from labels that are repainted, in a real browser."""

import pytest
from demo_page import pixel, said

TAB = "rs-reconstruction"
DRAWN = ((180, 80, 80), (80, 180, 80), (80, 80, 180))


@pytest.fixture(scope="module")
def tab(page):
    page.get_by_role("tab", name="Reconstruction").click()
    redrawn(page, "Redrawn from the predicted labels alone.")
    return page


def redrawn(page, text: str) -> None:
    page.wait_for_function(
        "text => document.querySelector('#redrawn')?.textContent === text", arg=text
    )


def alike(found: list[int], wanted: tuple[int, ...]) -> bool:
    """Whether a JPEG's colour is that one."""
    return all(abs(a - b) < 8 for a, b in zip(found, wanted, strict=False))


def box_of(page, part: str) -> dict:
    return page.locator(f"rs-reconstruction {part} .rs-stage").bounding_box()


def test_the_picture_is_redrawn_from_its_labels(tab, bundle) -> None:
    assert pixel(tab, TAB, "colours", 0.9, 0.9) == [*bundle.palette[1], 255]
    assert alike(pixel(tab, TAB, "right", 0.9, 0.9), DRAWN[1])
    assert alike(pixel(tab, TAB, "right", 0.1, 0.9), DRAWN[0])


def test_a_stroke_of_the_brush_is_redrawn_and_can_be_undone(tab, bundle) -> None:
    tab.get_by_role("button", name="building", exact=True).last.click()
    box = box_of(tab, "section:first-child")
    tab.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.8 * box["height"])
    tab.mouse.down()
    tab.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.8 * box["height"])
    tab.mouse.up()
    redrawn(tab, "Redrawn from your labels.")
    assert pixel(tab, TAB, "colours", 0.75, 0.8) == [*bundle.palette[0], 255]
    assert pixel(tab, TAB, "colours", 0.75, 0.95) == [*bundle.palette[1], 255]
    assert alike(pixel(tab, TAB, "right", 0.75, 0.8), DRAWN[0])
    tab.get_by_role("button", name="Undo").click()
    redrawn(tab, "Redrawn from the predicted labels alone.")
    assert alike(pixel(tab, TAB, "right", 0.75, 0.8), DRAWN[1])


def test_a_region_is_filled_with_the_keyboard_and_put_back(tab) -> None:
    tab.get_by_text("Fill", exact=True).click()
    stage = tab.locator("rs-reconstruction section:first-child .rs-stage")
    stage.focus()
    tab.mouse.move(0, 0)
    for _ in range(8):
        stage.press("Shift+ArrowUp")  # into the sky
    stage.press("Enter")
    redrawn(tab, "Redrawn from your labels.")
    assert alike(pixel(tab, TAB, "right", 0.2, 0.2), DRAWN[0])
    assert alike(pixel(tab, TAB, "right", 0.9, 0.9), DRAWN[1])
    tab.get_by_role("button", name="As predicted").click()
    redrawn(tab, "Redrawn from the predicted labels alone.")
    assert tab.get_by_role("button", name="As predicted").is_disabled()


def test_the_disagreement_has_a_scale(tab) -> None:
    assert pixel(tab, TAB, "over", 0.5, 0.5)[3] == 0
    tab.get_by_text("Where they disagree").click()
    assert pixel(tab, TAB, "over", 0.5, 0.5)[3] == 255
    assert tab.get_by_text("96 of 255 grey levels apart, or more").is_visible()


def test_another_picture_is_redrawn(tab) -> None:
    tab.locator("#examples button").nth(1).click()
    said(tab, "example 2: ")
    redrawn(tab, "Redrawn from the predicted labels alone.")
