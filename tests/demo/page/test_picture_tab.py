"""What the tab Picture does in the browser alone, and what can be taken home."""

import io
import json
import zipfile

import numpy as np
import pytest
from demo_page import layer, pixel
from PIL import Image

TAB = "rs-picture"


@pytest.fixture(autouse=True)
def _nothing_is_asked(page):
    """No test of this file sends anything to the server."""
    asked: list[str] = []

    def note(request) -> None:
        if "/roadshift/" in request.url:
            asked.append(request.url)

    page.on("request", note)
    yield
    page.remove_listener("request", note)
    assert asked == []


def taken(page, name: str) -> tuple[str, bytes]:
    """The name and content of what a button downloads."""
    with page.expect_download() as download:
        page.get_by_role("button", name=name).click()
    return download.value.suggested_filename, download.value.path().read_bytes()


def test_a_pixel_tells_its_class_and_confidence(page) -> None:
    box = page.locator("rs-picture .rs-stage").bounding_box()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.9 * box["height"])
    readout = page.locator("rs-picture .rs-readout")
    text = readout.inner_text()
    assert text.startswith("vegetation")
    assert "% sure, at column 230, row 115" in text
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.1 * box["height"])
    assert readout.inner_text().startswith("sky")
    page.mouse.move(0, 0)
    assert readout.inner_text().strip() == ""


def test_the_cursor_moves_by_keyboard(page) -> None:
    page.locator("rs-picture .rs-stage").focus()
    page.keyboard.press("ArrowUp")
    assert "column 128, row 62" in page.locator("rs-picture .rs-readout").inner_text()
    page.keyboard.press("Shift+ArrowLeft")
    assert "column 112, row 62" in page.locator("rs-picture .rs-readout").inner_text()


def test_a_class_in_the_legend_is_brought_out(page, bundle) -> None:
    sky = page.locator("rs-picture .rs-class").filter(has_text="sky")
    sky.click()
    assert sky.get_attribute("aria-pressed") == "true"
    assert pixel(page, TAB, "colours", 0.5, 0.1) == [*bundle.palette[2], 255]
    assert pixel(page, TAB, "colours", 0.9, 0.9)[3] == 0
    page.get_by_role("button", name="Show all classes").click()
    assert pixel(page, TAB, "colours", 0.9, 0.9)[3] == 255


def test_contours_lie_between_the_classes(page) -> None:
    page.get_by_label("Contours").check()
    assert pixel(page, TAB, "lines", 0.9, 63.5 / 128) == [255, 255, 255, 255]
    assert pixel(page, TAB, "lines", 0.9, 0.9)[3] == 0
    page.get_by_label("Contours").uncheck()
    assert pixel(page, TAB, "lines", 0.9, 63.5 / 128)[3] == 0


def test_what_is_less_sure_than_the_threshold_is_hidden(page, bundle) -> None:
    page.get_by_label("Hide what is less sure than").fill("78")
    text = page.locator("#below").inner_text()
    share = float(text.split(" %")[0])
    data = page.locator("rs-picture .rs-colours").evaluate(
        "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
    )
    hidden = (np.array(data).reshape(-1, 4)[:, 3] == 0).mean()
    assert 5 < share < 95
    assert abs(100 * hidden - share) < 0.06
    page.get_by_label("Hide what is less sure than").fill("0")
    assert page.locator("#below").inner_text() == ""


def test_the_confidence_is_a_map_of_its_own(page) -> None:
    before = layer(page, TAB, "colours")
    page.get_by_text("Confidence", exact=True).click()
    assert page.get_by_text("100 % (sure)").is_visible()
    assert layer(page, TAB, "colours") != before
    page.get_by_text("Classes", exact=True).first.click()
    assert layer(page, TAB, "colours") == before


def test_labels_and_overlay_can_be_taken_home(page, bundle) -> None:
    name, content = taken(page, "Labels (PNG)")
    assert name == "example 1.labels.png"
    labels = np.asarray(Image.open(io.BytesIO(content)))
    assert np.array_equal(labels, bundle.golden()[0].labels)
    page.get_by_label("Opacity").fill("100")
    name, content = taken(page, "Overlay (PNG)")
    assert name == "example 1.overlay.png"
    overlay = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    assert np.array_equal(overlay, np.array(bundle.palette, np.uint8)[labels])


def test_everything_is_a_zip_that_others_read(page, bundle) -> None:
    name, content = taken(page, "Everything (ZIP)")
    assert name == "example 1.zip"
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        assert packed.testzip() is None
        assert packed.namelist() == [
            "picture.png", "labels.png", "confidence.png", "overlay.png", "classes.json",
        ]  # fmt: skip
        labels = np.asarray(Image.open(io.BytesIO(packed.read("labels.png"))))
        listed = json.loads(packed.read("classes.json"))
    assert np.array_equal(labels, bundle.golden()[0].labels)
    assert [one["name"] for one in listed["classes"]] == list(bundle.classes)


def test_the_same_call_stands_there_for_curl(page) -> None:
    page.get_by_text("The same call with curl").click()
    line = page.locator(".rs-curl pre").inner_text()
    assert "curl --data-binary @street.jpg" in line
    assert "/segment?as=labels" in line
    assert "roadshift serve tiny-city" in page.locator(".rs-curl").inner_text()
