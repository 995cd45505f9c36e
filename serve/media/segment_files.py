"""Images, folders and videos to files: labels and overlays, each written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from roadshift import Failure, UserError
from serve.limits import Refusal
from serve.media.annotate import annotate
from serve.media.codec import decode, encode_jpeg, encode_png
from serve.media.files import (
    IMAGES,
    VIDEOS,
    images_in,
    is_newer,
    out_folder,
    out_names,
    video_out,
    write_whole,
)
from serve.media.frame_source import is_live, name_of
from serve.media.paint import overlay
from serve.runtime.engine import Engine

Progress = Callable[[int, int], None]
"""Called with how many images or frames are done, and how many there are (0: unknown)."""


class Report(NamedTuple):
    """What became of a run: the files written, how many inputs were up to date, and remarks."""

    written: list[Path]
    skipped: int
    remarks: list[str]


def segment(
    engine: Engine,
    source: str | Path,
    out: Path,
    *,
    overwrite: bool = False,
    progress: Progress = lambda _done, _of: None,
) -> Report:
    """Segments an image, the images of a folder, a video, or a camera's pictures.

    Images get OUT/NAME.labels.png (class ids, one channel) and OUT/NAME.overlay.jpg, and
    OUT/classes.json says what the ids mean. A video or a camera (see `frames_from`) gets OUT, or
    OUT/NAME.overlay.mp4 when OUT is not named .mp4. Answers that are newer than their input and the
    bundle are kept, unless `overwrite`; a camera's are always new. Raises UserError for what cannot
    be read, Failure for what cannot be written, and after a folder Failure for its images that
    could not be read.
    """
    if is_live(str(source)):
        return _live(engine, str(source), out, progress)
    source = Path(source)
    if not source.exists():
        raise UserError(
            f"{source} does not exist: wanted an image, a folder of images, a video, a camera's "
            "number or rtsp://…"
        )
    if source.is_dir():
        if out.resolve() == source.resolve():
            raise UserError(f"--out is the input folder {out}: name another one")
        return _images(engine, images_in(source), out, overwrite, progress)
    if source.suffix.lower() in VIDEOS:
        return _video(engine, source, out, overwrite, progress)
    if source.suffix.lower() in IMAGES:
        try:
            return _images(engine, [source], out, overwrite, progress)
        except _Unread as unread:
            raise UserError(unread.reasons[0]) from unread
    raise UserError(
        f"{source} ends in {source.suffix or 'nothing'!r}; wanted an image "
        f"({', '.join(IMAGES)}), a video ({', '.join(VIDEOS)}) or a folder of images"
    )


class _Unread(Failure):
    def __init__(self, reasons: list[str], of: int) -> None:
        super().__init__(
            f"{len(reasons)} of {of} images could not be segmented, the others are written: "
            + "; ".join(reasons)
        )
        self.reasons = reasons


def _images(
    engine: Engine, images: Sequence[Path], out: Path, overwrite: bool, progress: Progress
) -> Report:
    report, reasons = Report([], 0, []), list[str]()
    names = out_names(images)
    manifest = engine.bundle.folder / "bundle.json"
    for i, image in enumerate(images):
        answers = [out / f"{names[image]}.{kind}" for kind in ("labels.png", "overlay.jpg")]
        if not overwrite and is_newer(answers, [image, manifest]):
            report = report._replace(skipped=report.skipped + 1)
        else:
            try:
                contents = _image(engine, image)
            except UserError as error:
                reasons.append(f"{image}: {error}")
                continue
            out_folder(out)
            for answer, content in zip(answers, contents, strict=True):
                write_whole(answer, content)
            report.written.extend(answers)
        progress(i + 1, len(images))
    if report.written:
        write_whole(out / "classes.json", _classes(engine))
    if reasons:
        raise _Unread(reasons, len(images))
    return report


def _image(engine: Engine, image: Path) -> tuple[bytes, bytes]:
    """Labels as PNG and overlay as JPEG; UserError when the image cannot be used."""
    try:
        pixels = decode(image.read_bytes())
    except OSError as error:
        raise UserError(f"could not be read ({error.strerror or error})") from error
    except Refusal as refusal:
        raise UserError(str(refusal)) from refusal
    labels = engine.segment(pixels[None]).labels[0]
    return encode_png(labels), encode_jpeg(overlay(pixels, labels, engine.bundle.palette))


def _classes(engine: Engine) -> bytes:
    """The same format as the classes.json of a folder of labels."""
    pairs = zip(engine.bundle.classes, engine.bundle.palette, strict=True)
    classes = [{"id": i, "name": name, "color": rgb} for i, (name, rgb) in enumerate(pairs)]
    return (json.dumps({"classes": classes}, indent=1) + "\n").encode()


def _video(engine: Engine, video: Path, out: Path, overwrite: bool, progress: Progress) -> Report:
    out = video_out(out, video.stem)
    if out.resolve() == video.resolve():
        raise UserError(f"--out {out} is the input video: name another file")
    manifest = engine.bundle.folder / "bundle.json"
    if not overwrite and is_newer([out], [video, manifest]):
        return Report([], 1, [])
    remarks = annotate(engine, str(video), out, progress)
    return Report([out], 0, remarks)


def _live(engine: Engine, source: str, out: Path, progress: Progress) -> Report:
    out = video_out(out, name_of(source))
    return Report([out], 0, annotate(engine, source, out, progress))
