"""The demo page in a real browser: what comes in, what is shown, who may ask."""

import contextlib
import json
import socket
import urllib.error
import urllib.request
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import pytest
from demo_page import layer, pixel, said
from PIL import Image

PICTURE = "rs-picture"


def upload(page, path: Path) -> None:
    page.set_input_files("#upload", path)


def legend(page) -> list[str]:
    return page.locator("rs-picture .rs-class").all_inner_texts()


def test_an_example_is_shown_at_once(page) -> None:
    assert "tiny-city" in page.title()
    assert page.locator("h1").inner_text() == "tiny-city"
    assert "pictures of drawn:<game>" in page.locator(".rs-title").inner_text()
    assert "128x256 pixels" in said(page, "example 1")
    assert [" ".join(row.split()) for row in legend(page)] == [
        "sky 50.0 %", "vegetation 37.5 %", "building 12.5 %",
    ]  # fmt: skip


def test_an_upload_changes_the_picture_and_the_shares(page, tmp_path, street) -> None:
    before = layer(page, PICTURE, "colours")
    image = street(96, 144)
    image[:48] = image[:48, :, ::-1]  # the sky is on fire: its strongest colour is red
    Image.fromarray(image).save(tmp_path / "mine.webp", lossless=True)
    upload(page, tmp_path / "mine.webp")
    assert "96x144 pixels" in said(page, "mine.webp: ")
    page.wait_for_function(
        "() => document.querySelector('rs-picture .rs-class').textContent.includes('building')"
    )
    assert layer(page, PICTURE, "colours") != before
    assert "62.5 %" in legend(page)[0]


def test_a_picture_can_be_pasted(page, street, tmp_path) -> None:
    Image.fromarray(street(32, 32)).save(tmp_path / "x.png")
    page.evaluate(
        """bytes => { const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], 'pasted.png', {type: 'image/png'}));
        document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data})); }""",
        list((tmp_path / "x.png").read_bytes()),
    )
    assert "32x32 pixels" in said(page, "pasted.png: ")


def test_the_camera_gives_a_picture(page) -> None:
    page.click("#camera")
    page.wait_for_function("() => document.querySelector('.rs-camera video').videoWidth > 0")
    page.click("#snap")
    said(page, "the camera's picture: ")
    assert page.locator(".rs-camera").is_hidden()


def test_a_huge_photo_is_scaled_down_with_a_word(page, tmp_path) -> None:
    Image.fromarray(np.zeros((5000, 7000, 3), np.uint8)).save(tmp_path / "huge.jpg")
    upload(page, tmp_path / "huge.jpg")
    assert "5000x7000 pixels, scaled down to 1223x1713" in said(page, "huge.jpg: ")


SIZE = "async () => (await import('/roadshift/static/session.js')).session.size"


def test_the_size_learnt_is_offered(page, tmp_path, street) -> None:
    Image.fromarray(street(512, 512)).save(tmp_path / "large.png")
    upload(page, tmp_path / "large.png")
    said(page, "large.png: ")
    assert "2.8 times as high and wide" in page.locator("#warning").inner_text()
    page.get_by_text("At the size it learnt (181x181)").click()
    said(page, "seen by the network at 181x181")
    page.get_by_text("As it is").click()
    page.wait_for_function(
        "() => !document.querySelector('#status').textContent.includes('seen by')"
    )
    page.get_by_text("At the size it learnt (181x181)").click()
    said(page, "seen by the network at 181x181")
    # Another picture is seen as it is, until its visitor says otherwise.
    Image.fromarray(street(300, 300)).save(tmp_path / "next.png")
    upload(page, tmp_path / "next.png")
    assert "seen by" not in said(page, "next.png: ")
    # What cannot be read changes nothing, the size included.
    upload(page, tmp_path / "large.png")
    said(page, "large.png: ")
    page.get_by_text("At the size it learnt (181x181)").click()
    said(page, "seen by the network at 181x181")
    (tmp_path / "broken.png").write_bytes(b"")
    upload(page, tmp_path / "broken.png")
    said(page, "no picture that can be read")
    assert page.evaluate(SIZE) == "learnt"
    page.click("#examples button")
    said(page, "example 1: ")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "no picture that can be read"), (b"\x89PNG\r\n\x1a\nxxxx", "damaged or cut off")],
)
def test_a_broken_file_is_explained_and_changes_nothing(page, tmp_path, content, words) -> None:
    before = layer(page, PICTURE, "colours")
    (tmp_path / "broken.png").write_bytes(content)
    upload(page, tmp_path / "broken.png")
    said(page, words)
    assert page.locator("#status.rs-error").count() == 1
    assert layer(page, PICTURE, "colours") == before


def test_an_example_can_be_chosen_again(page) -> None:
    page.locator("#examples button").nth(1).click()
    said(page, "example 2: ")
    page.locator("#examples button").nth(0).click()
    assert "128x256 pixels" in said(page, "example 1: ")


def test_opacity_is_blended_without_asking_the_server(page, bundle) -> None:
    asked: list[str] = []
    page.on("request", lambda request: "/roadshift/" in request.url and asked.append(request.url))
    page.get_by_label("Opacity").fill("100")
    layer_ = page.locator("rs-picture .rs-colours")
    assert layer_.evaluate("canvas => canvas.style.opacity") == "1"
    assert pixel(page, PICTURE, "colours", 0.9, 0.9) == [*bundle.palette[1], 255]
    page.get_by_label("Opacity").fill("25")
    assert layer_.evaluate("canvas => canvas.style.opacity") == "0.25"
    assert not asked


def test_on_a_phone_the_answer_is_seen_and_nothing_scrolls_sideways(
    demo, browser, tmp_path, street
):
    page = browser.new_page(viewport={"width": 390, "height": 844}, has_touch=True)
    page.goto(demo[0])
    said(page, "example 1: ")
    Image.fromarray(street(300, 400)).save(tmp_path / "phone.png")
    page.set_input_files("#upload", tmp_path / "phone.png")
    said(page, "phone.png: ")
    page.wait_for_timeout(300)
    box = page.locator("rs-picture .rs-stage").bounding_box()
    assert box["y"] >= 0
    assert box["y"] + box["height"] <= 844
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.close()


def answer(url: str, **request) -> tuple[int, str]:
    """The status and body for a request made without a browser."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, **request)) as found:
            return found.status, found.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_the_link_preview_is_our_own(demo) -> None:
    _, html = answer(demo[0])
    assert html.count('property="og:title"') == 1
    assert '<meta property="og:title" content="tiny-city: street scenes, pixel by pixel">' in html
    assert f'<meta property="og:image" content="{demo[0]}roadshift/preview.jpg">' in html
    assert "drawn:&lt;game&gt;" in html.partition('name="description"')[2].partition(">")[0] + ">"
    assert "@Gradio" not in html
    assert "@teamGradio" not in html


def test_only_this_machines_names_are_answered(demo) -> None:
    """A page elsewhere whose name is made to resolve to 127.0.0.1 gets nothing."""
    assert answer(demo[0], headers={"Host": "attacker.example"})[0] == 400
    assert answer(demo[0])[0] == 200


def test_files_of_the_machine_are_not_given_out(demo, bundle) -> None:
    for path in (bundle.path("segmentor.onnx"), Path("/etc/hostname")):
        assert answer(f"{demo[0]}gradio_api/file={path}")[0] == 403
    assert answer(f"{demo[0]}roadshift/static/../../../roadshift.py")[0] == 404


def test_gradio_takes_neither_files_nor_calls(demo) -> None:
    for path in ("upload", "queue/join", "run/predict", "call/x", "component_server"):
        assert answer(f"{demo[0]}gradio_api/{path}", data=b"{}")[0] == 403
    _, listed = answer(f"{demo[0]}gradio_api/info")
    assert json.loads(listed) == {"named_endpoints": {}, "unnamed_endpoints": {}}


@pytest.mark.slow
def test_who_connects_and_says_nothing_is_cut_off(demo) -> None:
    host, port = demo[0].removeprefix("http://").strip("/").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as silent:
        silent.settimeout(20)
        with contextlib.suppress(ConnectionResetError):
            assert silent.recv(1) == b""


def test_a_file_beyond_the_limit_is_refused(demo) -> None:
    sent = HTTPConnection(demo[0].removeprefix("http://").strip("/"))
    sent.putrequest("POST", "/roadshift/segment")
    sent.putheader("Content-Length", str(33 << 20))
    sent.endheaders()  # it is told before the file is sent
    found = sent.getresponse()
    assert (found.status, b"at most 32 MB" in found.read()) == (413, True)
    sent.close()


def test_the_report_has_headings_and_no_path(page, bundle) -> None:
    page.get_by_role("tab", name="Report").click()
    page.wait_for_selector("#report h2", state="visible")
    report = page.locator("#report").inner_text()
    assert "strongest_colour" in report
    assert "61.25" in report
    assert str(bundle.folder) not in page.content()
    page.get_by_role("tab", name="Picture").click()
