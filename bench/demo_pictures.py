"""Pictures of the demo's tabs for the docs, on toytown alone.

    python bench/demo_pictures.py QUICKSTART [--rebuilt BUNDLE] [--out docs/pictures]

QUICKSTART is the folder that `roadshift quickstart` made; BUNDLE one with a reconstructor, trained
on toytown. Writes TAB.WIDTH.THEME.png: every tab at desktop and phone width, light and dark.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from demo_browser import chromium, demo_of, first_answer
from PIL import Image

SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


def stroke(page: Any) -> None:
    """Paints a class over the middle of the label map, and waits for the drawing."""
    page.locator(".rs-paint", has_text="vegetation").click()
    box = page.locator("rs-reconstruction section:first-child .rs-stage").bounding_box()
    page.mouse.move(box["x"] + 0.55 * box["width"], box["y"] + 0.45 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.4 * box["height"], steps=8)
    page.mouse.up()
    page.wait_for_function(
        "() => document.querySelector('#redrawn').textContent === 'Redrawn from your labels.'"
    )


def play(page: Any, clip: Path) -> None:
    """Sends the clip and waits for it."""
    page.set_input_files("#clip", clip)
    page.wait_for_selector("rs-video .rs-player:not([hidden])", timeout=120_000)
    page.wait_for_timeout(1000)


def write_clip(bundle: Path, clip: Path) -> None:
    """A clip that drives over a golden frame: a window that moves over it."""
    golden = Image.open(bundle / "golden" / "0.png").convert("RGB")
    golden = golden.resize((golden.width * 5 // 4, golden.height * 5 // 4))
    frame = np.asarray(golden)[..., ::-1]
    height, width = frame.shape[0] // 2 * 2, frame.shape[1] // 2 * 2
    size = (int(width * 0.8) // 2 * 2, int(height * 0.8) // 2 * 2)
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"mp4v"), 12, size)
    for i in range(24):
        left, top = (width - size[0]) * i // 24, (height - size[1]) * i // 48
        writer.write(frame[top : top + size[1], left : left + size[0]])
    writer.release()


def shoot(bundles: Sequence[Path], tabs: Sequence[str], out: Path) -> None:
    """Every one of the tabs, in every size and theme."""
    clip = out / "clip.mp4"
    write_clip(bundles[0], clip)
    with demo_of(bundles) as address, chromium() as browser:
        for width, (w, h) in SIZES.items():
            for theme in ("light", "dark"):
                page = browser.new_page(viewport={"width": w, "height": h}, color_scheme=theme)
                first_answer(page, address)
                for tab in tabs:
                    page.get_by_role("tab", name=tab).click()
                    page.wait_for_timeout(1500)
                    if tab == "Reconstruction":
                        stroke(page)
                    if tab == "Video":
                        play(page, clip)
                    page.evaluate("scrollTo(0, 0)")
                    path = out / f"{tab.lower()}.{width}.{theme}.png"
                    page.screenshot(path=path, full_page=width == "desktop")
                    print(path, flush=True)
                page.close()
    clip.unlink()


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("quickstart", type=Path)
    parser.add_argument("--rebuilt", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    both = [asked.quickstart / name for name in ("toytown_bundle", "toytown_source_only")]
    shoot(both, ["Picture", "Adaptation", "Video", "Report"], asked.out)
    if asked.rebuilt:
        shoot([asked.rebuilt], ["Reconstruction"], asked.out)


if __name__ == "__main__":
    main()
