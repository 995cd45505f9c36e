"""Which files a path means, what their answers are called, and writing those whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from roadshift import Failure, UserError, replacing

IMAGES = (".jpg", ".jpeg", ".png", ".webp")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")


def images_in(folder: Path) -> list[Path]:
    """The JPEG, PNG and WebP files directly in a folder, by name; UserError when there are none."""
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGES and p.is_file())
    if not found:
        raise UserError(
            f"{folder} holds no image: wanted files that end in {', '.join(IMAGES)} directly in it"
        )
    return found


def out_names(images: Sequence[Path]) -> dict[Path, str]:
    """Each image's name for its answers: without its suffix, unless two images differ in that."""
    stems = Counter(image.stem for image in images)
    return {image: image.stem if stems[image.stem] == 1 else image.name for image in images}


def video_out(out: Path, name: str) -> Path:
    """`out` where it is named .mp4, else NAME.overlay.mp4 in it; UserError for another ending."""
    if out.suffix.lower() in VIDEOS and out.suffix.lower() != ".mp4":
        raise UserError(f"--out {out}: videos are written as .mp4 only: name it so, or a folder")
    if out.suffix.lower() != ".mp4" or out.is_dir():
        return out / f"{name}.overlay.mp4"
    return out


def out_folder(out: Path) -> Path:
    """`out`, made if need be. Raises UserError when a file is in the way, Failure when refused."""
    blocking = next((p for p in (out, *out.parents) if p.exists()), None)
    if blocking is not None and not blocking.is_dir():
        raise UserError(f"--out {out}: wanted a folder, and {blocking} is a file: name another one")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"could not make the folder {out}: {error.strerror or error}") from error
    return out


def is_newer(outputs: Iterable[Path], inputs: Iterable[Path]) -> bool:
    """Whether every output is there, and newer than every input."""
    newest = max(path.stat().st_mtime_ns for path in inputs)
    return all(path.is_file() and path.stat().st_mtime_ns > newest for path in outputs)


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file that is there completely or not at all; Failure when the disk refuses."""
    with replacing(path) as part:
        part.write_bytes(content)
