"""The demo page in a real browser: one demo, one Chromium, the tests in a visitor's order."""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[3]
SWITCHES = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
COMMAND = "import sys; from roadshift import main; main(['demo', sys.argv[1], '--port', '0'])"


@pytest.fixture(scope="module")
def chromium() -> str:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"needs a browser: none of {', '.join(names)} is installed")
    return found


@pytest.fixture(scope="module")
def demo(bundle, chromium, tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """The demo's address and the folder for its temporary files, gone when it has ended."""
    if importlib.util.find_spec("gradio") is None:
        pytest.skip("needs gradio: the extra 'demo'")
    scratch = tmp_path_factory.mktemp("scratch")
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(bundle.folder)],
        cwd=ROOT, env={**os.environ, "TMPDIR": str(scratch), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    lines: list[str] = []
    while not lines or "http" not in lines[-1]:
        lines.append(process.stdout.readline())
        assert lines[-1], f"the demo ended: {lines}"
    yield re.findall(r"http://\S+", lines[-1])[0], scratch
    process.send_signal(signal.SIGINT)
    process.stdout.close()
    assert process.wait(10) == 0
    assert not list(scratch.iterdir()), "temporary files were left behind"


@pytest.fixture(scope="module")
def page(demo, chromium) -> Iterator:
    """An open page; every address it asks for is checked to be the demo's own."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    address, _ = demo
    asked: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=SWITCHES)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        page.wait_for_selector("#legend table")
        yield page
        browser.close()
    strange = [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    assert not strange


def picture(page, name: str, *, other_than: str = "") -> str:
    """The address of the picture of that id, once it is loaded and another one."""
    page.wait_for_function(
        "([name, old]) => (i => i && i.complete && i.naturalWidth && i.src != old)"
        "(document.querySelector(`#${name} img`))",
        arg=[name, other_than],
    )
    return page.locator(f"#{name} img").get_attribute("src")


def overlay(page, *, other_than: str = "") -> str:
    """The overlay's address, once it is another one."""
    return picture(page, "overlay", other_than=other_than)


def pixel(page, x: float, y: float, name: str = "overlay") -> list[int]:
    """The colour of a picture at a place (0..1 of its width and height), in the browser."""
    return page.evaluate(
        """([x, y, name]) => { const i = document.querySelector(`#${name} img`);
        const c = document.createElement('canvas'); c.width = i.naturalWidth;
        c.height = i.naturalHeight; const g = c.getContext('2d'); g.drawImage(i, 0, 0);
        return [...g.getImageData(x * c.width, y * c.height, 1, 1).data].slice(0, 3); }""",
        [x, y, name],
    )


def test_an_example_is_shown_at_once(page) -> None:
    assert "tiny-city" in page.title()
    assert page.locator("h1").inner_text() == "tiny-city"
    assert "drawn:<game>" in page.locator(".rs-title").first.inner_text()
    overlay(page)
    legend = page.locator("#legend").inner_text()
    assert re.findall(r"sky|vegetation|building|[\d.]+ %", legend) == [
        "sky", "50.0 %", "vegetation", "37.5 %", "building", "12.5 %",
    ]  # fmt: skip


def test_an_upload_changes_the_overlay_and_the_shares(page, tmp_path, street) -> None:
    before = overlay(page)
    image = street(96, 144)
    image[:48] = image[:48, :, ::-1]  # the sky is on fire: its strongest colour is red
    Image.fromarray(image).save(tmp_path / "mine.png")
    page.set_input_files("#upload input[type=file]", tmp_path / "mine.png")
    overlay(page, other_than=before)
    assert "96x144 pixels" in page.locator("#note").inner_text()
    legend = page.locator("#legend").inner_text()
    assert re.findall(r"sky|vegetation|building|[\d.]+ %", legend) == [
        "building", "62.5 %", "vegetation", "37.5 %", "sky", "0.0 %",
    ]  # fmt: skip
    page.screenshot(path=tmp_path / "page.png", full_page=True)


def test_the_slider_sets_the_opacity(page, bundle) -> None:
    before = overlay(page)
    page.locator("#opacity input[type=number]").fill("100")
    page.keyboard.press("Enter")
    overlay(page, other_than=before)
    assert tuple(pixel(page, 0.9, 0.9)) == bundle.palette[1]


def test_the_confidence_has_its_own_picture(page) -> None:
    page.get_by_role("tab", name="Confidence").click()
    page.wait_for_selector("#confidence img")
    assert "100 % (sure)" in page.locator(".rs-scale").inner_text()
    page.get_by_role("tab", name="Overlay").click()


def test_the_reconstruction_has_four_pictures(page, bundle, tmp_path, street) -> None:
    page.get_by_role("tab", name="Reconstruction").click()
    names = ("rebuilt-image", "rebuilt-classes", "rebuilt-drawing", "rebuilt-difference")
    before = {name: picture(page, name) for name in names}
    assert page.locator("#rebuilt-drawing").is_visible()
    assert tuple(pixel(page, 0.9, 0.9, "rebuilt-classes")) == bundle.palette[1]
    assert tuple(pixel(page, 0.9, 0.9, "rebuilt-drawing")) == (80, 180, 80)
    assert "96 of 255 grey levels or more" in page.locator("#rebuilt-scale").inner_text()
    assert "mean and deviation" in page.locator("text=The drawing is in the colours").inner_text()
    # While the tab is open, it follows: one quarter is now what its labels do not tell.
    image = street(96, 144)
    image[:48, 72:] = image[:48, 72:] // 8
    Image.fromarray(image).save(tmp_path / "dark.png")
    page.set_input_files("#upload input[type=file]", tmp_path / "dark.png")
    for name in names:
        picture(page, name, other_than=before[name])
    same, apart = (pixel(page, x, 0.25, "rebuilt-difference") for x in (0.1, 0.9))
    assert apart[1] > same[1] + 20  # viridis has more green where there is more
    page.screenshot(path=tmp_path / "reconstruction.png", full_page=True)
    page.get_by_role("tab", name="Overlay").click()


def test_a_broken_file_is_explained_and_changes_nothing(page, tmp_path) -> None:
    before = overlay(page)
    (tmp_path / "broken.png").write_bytes(b"")
    page.set_input_files("#upload input[type=file]", tmp_path / "broken.png")
    page.wait_for_selector("text=wanted a JPEG, PNG or WebP image")
    assert overlay(page) == before


def test_an_example_can_be_chosen_again(page, tmp_path, street) -> None:
    first = overlay(page)
    page.locator("#examples .thumbnail-item").first.click()
    second = overlay(page, other_than=first)
    Image.fromarray(street(32, 32)).save(tmp_path / "other.png")
    page.set_input_files("#upload input[type=file]", tmp_path / "other.png")
    third = overlay(page, other_than=second)
    page.locator("#examples .thumbnail-item").first.click()
    overlay(page, other_than=third)
    assert "128x256 pixels" in page.locator("#note").inner_text()


def test_the_facts_of_the_bundle_are_there(page, bundle) -> None:
    page.get_by_role("button", name="About this segmentor").click()
    page.wait_for_selector("text=strongest_colour")
    facts = page.locator("#facts").inner_text()
    assert bundle.files["segmentor.onnx"][:16] in facts
    assert "61.25" in facts


def answer(url: str, **request) -> tuple[int, str]:
    """The status and body for a request made without a browser."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, **request)) as found:
            return found.status, found.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_only_this_machines_names_are_answered(demo) -> None:
    """A page elsewhere whose name is made to resolve to 127.0.0.1 gets nothing."""
    assert answer(demo[0], headers={"Host": "attacker.example"})[0] == 400
    assert answer(demo[0])[0] == 200


def test_files_of_the_machine_are_not_given_out(demo, bundle) -> None:
    for path in (bundle.path("segmentor.onnx"), Path("/etc/hostname")):
        assert answer(f"{demo[0]}gradio_api/file={path}")[0] == 403


def test_no_function_is_offered_to_programs(demo) -> None:
    status, listed = answer(f"{demo[0]}gradio_api/info")
    assert status == 200
    assert json.loads(listed) == {"named_endpoints": {}, "unnamed_endpoints": {}}


def test_a_file_beyond_the_limit_is_refused(demo) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    status, _ = answer(
        f"{demo[0]}gradio_api/upload",
        data=head + bytes(33 * 2**20) + b"\r\n--x--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert status == 413
