"""A demo in a process of its own and a Chromium to look at it; for the scripts beside this one."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SWITCHES = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
]  # fmt: skip


@contextmanager
def demo_of(bundles: Sequence[Path]) -> Generator[str]:
    """The address of `roadshift demo BUNDLE...`, which ends with the block."""
    command = [sys.executable, "-m", "roadshift", "demo", *map(str, bundles), "--port", "0"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if found := re.search(r"http://\S+", line):
                yield found[0]
                break
        else:
            raise SystemExit(f"the demo of {bundles} did not start")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(10)


@contextmanager
def chromium(camera: Path | None = None) -> Generator[Any]:
    """A headless Chromium; playwright's own type, which is not everywhere installed.

    Its camera shows the Y4M file `camera` again and again, or a clock.
    """
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    names = ("chromium", "chromium-browser", "google-chrome")
    path = next((found for name in names if (found := shutil.which(name))), None)
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    shows = [f"--use-file-for-fake-video-capture={camera}"] if camera else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*SWITCHES, *shows])
        yield browser
        browser.close()


def first_answer(page: Any, address: str) -> None:
    """Opens the page, and waits until it shows its first example."""
    page.goto(address)
    page.wait_for_selector("#status.rs-done")
