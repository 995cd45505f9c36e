"""One demo, one Chromium, and a page of its own for every file of tests."""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SWITCHES = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
]  # fmt: skip
COMMAND = "import sys; from roadshift import main; main(['demo', *sys.argv[1:], '--port', '0'])"


@pytest.fixture(scope="session")
def chromium() -> str:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"needs a browser: none of {', '.join(names)} is installed")
    return found


@pytest.fixture(scope="session")
def demo(bundle, other_bundle, tmp_path_factory) -> Iterator[tuple[str, Path]]:
    """The demo's address and the folder for its temporary files, gone when it has ended."""
    if importlib.util.find_spec("gradio") is None:
        pytest.skip("needs gradio: the extra 'demo'")
    scratch = tmp_path_factory.mktemp("scratch")
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(bundle.folder), str(other_bundle.folder)],
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
    assert process.wait(60) == 0
    assert not list(scratch.iterdir()), "temporary files were left behind"


@pytest.fixture(scope="module")
def browser(chromium) -> Iterator:
    """Closed after each file: while it is open no test can run an event loop of its own."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=SWITCHES)
        new_page = browser.new_page

        def patient(**options):
            """Pages that wait for a machine with much else to do."""
            page = new_page(**options)
            page.set_default_timeout(90_000)
            return page

        browser.new_page = patient
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page(demo, browser) -> Iterator:
    """An open page that shows its first example; asks for nothing but the demo's own addresses."""
    address, _ = demo
    asked: list[str] = []
    wrong: list[str] = []
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(address)
    page.wait_for_selector("#status.rs-done")
    yield page
    page.close()
    assert not wrong
    assert not [url for url in asked if not url.startswith((address, "data:", "blob:"))]
