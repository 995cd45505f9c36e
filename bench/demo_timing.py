"""How long each interaction with the demo takes, from the click to the picture on the screen.

    python bench/demo_timing.py BUNDLE [BUNDLE2] [--size 512x1024] [--times 5]

Uploads a golden frame brought to that size, then does what a visitor does; the labels are repainted
where BUNDLE has a reconstructor. The time of what happens in the browser alone ends with the frame
after it is painted. Writes bench/results/demo_timing.md.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from demo_browser import chromium, demo_of, first_answer
from demo_pictures import drive, go_live, play, stroke, write_camera, write_clip
from deploy_setup import cpu
from PIL import Image

from export.bundle import RECONSTRUCTOR, read_bundle

RESULT = Path(__file__).parent / "results" / "demo_timing.md"
PAINTED = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
CLIP_FRAMES = 12
Act = Callable[[Any], None]


def acts(picture: Path, clip: Path, bundles: list[Path]) -> dict[str, tuple[str, Act]]:
    """What a visitor does: the tab on which, and how; each returns when it is seen."""
    upload = iter(range(1_000_000))

    def choose(page: Any) -> None:
        name = f"street{next(upload)}.jpg"
        buffer = {"name": name, "mimeType": "image/jpeg", "buffer": picture.read_bytes()}
        page.set_input_files("#upload", buffer)
        page.wait_for_function(
            "name => document.querySelector('#status.rs-done')?.textContent.startsWith(name)",
            arg=name,
        )

    def slide(label: str) -> Act:
        values = iter(list(range(20, 80)) * 1000)
        return lambda page: page.get_by_label(label).first.fill(str(next(values)))

    def click(selector: str) -> Act:
        return lambda page: page.locator(selector).first.click()

    found: dict[str, tuple[str, Act]] = {
        "upload, to the overlay": ("Picture", choose),
        "opacity, a step": ("Picture", slide("Opacity")),
        "confidence threshold, a step": ("Picture", slide("Hide what is less sure than")),
        "a class of the legend": ("Picture", click("rs-picture .rs-class")),
        "contours": ("Picture", click("rs-picture .rs-tick input")),
        "a pixel": ("Picture", lambda page: page.locator("rs-picture .rs-stage").hover()),
    }
    if len(bundles) > 1:
        found["slider between two bundles, a step"] = (
            "Adaptation",
            lambda page: page.locator("rs-adaptation .rs-divider").press("ArrowLeft"),
        )
    if RECONSTRUCTOR.file in read_bundle(bundles[0]).files:
        found["a stroke of the brush, to the picture redrawn"] = ("Reconstruction", repaint)

    def send(page: Any) -> None:
        page.evaluate(
            "for (const one of document.querySelectorAll('.rs-player')) one.hidden = true"
        )
        play(page, clip)

    found[f"a clip of {CLIP_FRAMES} frames, until it can be played"] = ("Video", send)
    return found


def repaint(page: Any) -> None:
    """A stroke, whatever was painted before."""
    page.evaluate("document.querySelector('#redrawn').textContent = ''")
    stroke(page)


def live(page: Any) -> str:
    """What the page says of its live camera after some seconds."""
    page.get_by_role("tab", name="Video").click()
    go_live(page)
    page.wait_for_timeout(4000)
    return str(page.locator("#live-figures").inner_text())


def measured(page: Any, tab: str, act: Act, times: int) -> list[float]:
    """Milliseconds of each time."""
    page.get_by_role("tab", name=tab).click()
    page.wait_for_timeout(3000)
    seconds: list[float] = []
    for _ in range(times):
        start = time.perf_counter()
        act(page)
        page.evaluate(PAINTED)
        seconds.append(time.perf_counter() - start)
    return [1000 * one for one in seconds]


def main() -> None:
    """Print the table and keep it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("bundle2", type=Path, nargs="?")
    parser.add_argument("--size", default="512x1024")
    parser.add_argument("--times", type=int, default=5)
    asked = parser.parse_args()
    bundles = [one for one in (asked.bundle, asked.bundle2) if one]
    height, width = map(int, asked.size.split("x"))
    lines = [
        f"`python bench/demo_timing.py`: {asked.bundle.name}, a JPEG of {asked.size}, {cpu()}, "
        f"{date.today().isoformat()}; milliseconds of {asked.times} times, Chromium headless "
        "through playwright, whose own way there and back is in them.",
        "",
        "| | median | largest |",
        "|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "street.jpg"
        golden = Image.open(asked.bundle / "golden" / "0.png")
        golden.resize((width, height)).save(picture, quality=92)
        clip, camera, frames = Path(folder) / "clip.mp4", Path(folder) / "a.y4m", drive(bundles[0])
        write_clip(frames[:CLIP_FRAMES], clip)
        write_camera(frames, camera)
        with demo_of(bundles) as address, chromium(camera) as browser:
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            first_answer(page, address)
            for name, (tab, act) in acts(picture, clip, bundles).items():
                found = measured(page, tab, act, asked.times)
                lines.append(f"| {name} | {statistics.median(found):.0f} | {max(found):.0f} |")
                print(lines[-1], flush=True)
            lines += ["", f"The live camera, pictures of 320x640: {live(page)}."]
            print(lines[-1])
    RESULT.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
