"""Opening a spec: unlabelled(spec) for a target, labelled(spec) to learn from or to score on."""

from __future__ import annotations

import logging
from collections.abc import Container, Sequence
from dataclasses import replace

import numpy as np

from adapt.data.images import Images, LabelledImages
from adapt.data.reading.decode import Unreadable
from adapt.data.reading.layouts import class_table, find_images, find_labels
from adapt.data.reading.parse import parse
from adapt.data.reading.spec import Spec
from adapt.data.scan_report import ScanReport, cache_path, read_report
from roadshift import UserError

__all__ = ["Images", "LabelledImages", "labelled", "unlabelled"]

log = logging.getLogger(__name__)


def unlabelled(spec: str, *, strict: bool = False) -> Images:
    """The images of a spec, without those that a scan found bad.

    Labels beside them are not touched, nor what a scan found about them. Raises UserError when
    there is no image, and with `strict` also when a scan found bad ones.
    """
    parsed = parse(spec)
    images = open_images(parsed)
    report, _ = _last_scan(parsed, images)
    return _without(images, report.bad("image") if report else {}, strict)


def labelled(spec: str, *, strict: bool = False) -> LabelledImages:
    """The images of a spec that have a label, without the pairs that a scan found bad.

    Raises UserError when there is none, when the labels are of other classes, and with `strict`
    also when images have no label or a scan found bad files.
    """
    parsed = parse(spec)
    images = open_images(parsed)
    pairs = open_labels(parsed, images)
    missing = len(images) - len(pairs)
    if missing:
        found = f"{missing} of {len(images)} images have no label"
        if strict:
            raise UserError(f"{spec}: {found}; add them, or leave out --strict to go on without")
        log.warning("%s: %s and are left out", spec, found)
    report, scanned = _last_scan(parsed, images)
    bad: dict[str, str] = {}
    if report:
        current = report.labels == open_labels(parsed, scanned).content
        bad = report.bad("image") | (report.bad("label") if current else {})
        if not current:
            log.warning("%s: its labels have changed since the last scan; scan it again", spec)
        elif report.other_classes:
            raise other_classes(pairs, report.unlisted)
    good = replace(pairs, images=_without(pairs.images, bad, strict))
    _must_know(good)
    return good


def open_images(spec: Spec) -> Images:
    """All images of a spec, bad ones included; UserError when there is none."""
    found, table = find_images(spec), class_table(spec)
    kept = tuple(name for name in found.names if spec.keeps(name))
    if not kept:
        raise UserError(
            f"{spec.text}: none of the {len(found.names)} images in {found.where} matches the "
            f"pattern {spec.pattern!r}; their names are like {found.names[0]}"
        )
    return Images(spec.text, table.classes if table else None, kept, found.source)


def has_labels(spec: Spec, images: Images) -> bool:
    """Whether there are labels and something says what their ids mean."""
    return bool(class_table(spec) and find_labels(spec, images.names).names)


def open_labels(spec: Spec, images: Images) -> LabelledImages:
    """Those of the images that have a label, bad ones included; UserError when none has."""
    found = find_labels(spec, images.names)
    if not found.names:
        raise UserError(
            f"{spec.text}: none of the {len(images)} images has a label in {found.where}; wanted "
            f"{found.example}, and so on"
        )
    table = class_table(spec)
    if table is None:
        raise UserError(
            f"{spec.text}: {spec.path} has labels but no classes.json to say what their ids mean; "
            f"add one, or name one: folder:{spec.path}@FILE.json or @camvid11"
        )
    with_label = replace(images, names=found.names)
    return LabelledImages(with_label, table.classes, table.palette, table.ids, found.source)


def other_classes(pairs: LabelledImages, found: Sequence[int] | dict[int, int]) -> UserError:
    """The error for labels whose ids all mean nothing here."""
    known = [f"{number} {name}" for number, name in sorted(pairs.ids.items())]
    return UserError(
        f"{pairs.images.spec}: these are labels of other classes: they hold the ids "
        f"{_few([str(number) for number in sorted(found)])}, wanted {_few(known)}; check the kind "
        "of data, or say what the ids mean with folder:PATH@FILE.json"
    )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")


def _last_scan(spec: Spec, images: Images) -> tuple[ScanReport | None, Images]:
    """The report on these images, else on all images of the split, and what it is about."""
    report = read_report(cache_path(images.content))
    if report or not spec.pattern:
        return report, images
    whole = open_images(spec._replace(pattern=""))
    return read_report(cache_path(whole.content)), whole


def _without(images: Images, bad: dict[str, str], strict: bool) -> Images:
    found = [name for name in images.names if name in bad]
    if not found:
        return images
    what = (
        f"{images.spec}: a scan found {len(found)} of {len(images)} images bad "
        f"({found[0]} {bad[found[0]]})"
    )
    if strict:
        raise UserError(f"{what}; repair them and scan again, or leave out --strict")
    if len(found) == len(images):
        raise UserError(f"{what}; no image is left: repair them and scan again")
    log.warning("%s; they are left out", what)
    return replace(images, names=_others(images.names, bad))


def _others(names: tuple[str, ...], bad: Container[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in bad)


def _must_know(pairs: LabelledImages) -> None:
    """UserError when labels spread over the set hold no known class: mostly one is enough."""
    known = np.zeros(2**16, bool)
    known[list(pairs.ids)] = True
    found: set[int] = set()
    for i in np.linspace(0, len(pairs) - 1, min(len(pairs), 8)).astype(int):
        try:
            raw = pairs.labels.raw(pairs.images.names[i])
        except Unreadable:
            # Whoever asks for this label is told.
            continue
        if known[raw].any():
            return
        found |= set(np.unique(raw).tolist())
    if found:
        raise other_classes(pairs, sorted(found))
