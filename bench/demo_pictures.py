"""Pictures of the demo's tabs for the docs, on toytown alone.

    python bench/demo_pictures.py QUICKSTART [--rebuilt BUNDLE] [--out docs/pictures]

QUICKSTART is the folder that `roadshift quickstart` made; BUNDLE one with a reconstructor, trained
on toytown. Writes TAB.WIDTH.THEME.png: every tab at desktop and phone width, light and dark; of
the tab Video also the live camera (live.*), before which the same street passes by.
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


def go_live(page: Any) -> None:
    """Starts the camera and waits for its figures."""
    page.get_by_role("button", name="Live camera").click()
    page.wait_for_function(
        "() => document.querySelector('#live-figures')?.textContent.includes('FPS')"
    )
    page.wait_for_timeout(2500)


def drive(bundle: Path) -> list[np.ndarray[Any, Any]]:
    """Frames (BGR) of a drive over a golden frame: a window that moves over it."""
    golden = Image.open(bundle / "golden" / "0.png").convert("RGB")
    golden = golden.resize((golden.width * 5 // 4, golden.height * 5 // 4))
    frame = np.asarray(golden)[..., ::-1]
    height, width = frame.shape[0] // 2 * 2, frame.shape[1] // 2 * 2
    size = (int(width * 0.8) // 2 * 2, int(height * 0.8) // 2 * 2)
    starts = (((width - size[0]) * i // 24, (height - size[1]) * i // 48) for i in range(24))
    return [frame[top : top + size[1], left : left + size[0]] for left, top in starts]


def write_clip(frames: Sequence[np.ndarray[Any, Any]], clip: Path) -> None:
    """A file for the clip's upload."""
    size = frames[0].shape[1], frames[0].shape[0]
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"mp4v"), 12, size)
    for frame in frames:
        writer.write(frame)
    writer.release()


def write_camera(frames: Sequence[np.ndarray[Any, Any]], camera: Path) -> None:
    """What a browser's fake camera shows: there and back again, as YUV4MPEG2 of 640x320."""
    there_and_back = (cv2.resize(one, (640, 320)) for one in [*frames, *reversed(frames)])
    planes = (cv2.cvtColor(one, cv2.COLOR_BGR2YUV_I420) for one in there_and_back)
    content = b"".join(b"FRAME\n" + one.tobytes() for one in planes)
    camera.write_bytes(b"YUV4MPEG2 W640 H320 F30:1 Ip A1:1 C420\n" + content)


def shoot(bundles: Sequence[Path], tabs: Sequence[str], out: Path) -> None:
    """Every one of the tabs, in every size and theme."""
    clip, camera, frames = out / "clip.mp4", out / "camera.y4m", drive(bundles[0])
    write_clip(frames, clip)
    write_camera(frames, camera)
    with demo_of(bundles) as address, chromium(camera) as browser:
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
                        page.wait_for_timeout(1000)
                    page.evaluate("scrollTo(0, 0)")
                    keep(page, out / f"{tab.lower()}.{width}.{theme}.png")
                    if tab == "Video":
                        first_answer(page, address)
                        page.get_by_role("tab", name=tab).click()
                        go_live(page)
                        keep(page, out / f"live.{width}.{theme}.png")
                page.close()
    clip.unlink()
    camera.unlink()


def keep(page: Any, path: Path) -> None:
    """A picture of the whole page, on a phone of what is in sight."""
    page.screenshot(path=path, full_page=page.viewport_size["width"] > 600)
    print(path, flush=True)


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
