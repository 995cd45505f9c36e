"""Reading every image and label once, to find those that no run should meet."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from adapt.data.datasets import has_labels, open_images, open_labels
from adapt.data.images import Images, LabelledImages
from adapt.data.reading.decode import Unreadable
from adapt.data.reading.parse import parse
from adapt.data.scan_report import Problem, ScanReport, SizeCount, cache_path, write_report
from roadshift import hxw

Wrong = list[tuple[str, str]]


class Finding(NamedTuple):
    """What one image and its label gave: size, pixels by raw id, and what is wrong."""

    name: str
    size: tuple[int, int] | None
    ids: dict[int, int]
    problems: list[Problem]


def scan(text: str, tell: Callable[[int, int], None]) -> ScanReport:
    """Read all images and labels of a spec and write the report where later runs look for it.

    `tell(done, total)` is called after each image. Raises UserError for a spec without images,
    Failure when the report cannot be written.
    """
    spec = parse(text)
    images = open_images(spec)
    pairs = open_labels(spec, images) if has_labels(spec, images) else None
    sizes: dict[str, SizeCount] = {}
    ids: Counter[int] = Counter()
    problems: list[Problem] = []
    for done, finding in enumerate(_findings(images, pairs), 1):
        problems += finding.problems
        ids.update(finding.ids)
        if finding.size:
            seen = sizes.get(hxw(finding.size), SizeCount(0, finding.name))
            sizes[hxw(finding.size)] = seen._replace(images=seen.images + 1)
        tell(done, len(images))
    known = pairs.ids if pairs else {}
    pixels = dict.fromkeys(known.values(), 0)
    for number, name in known.items():
        pixels[name] += ids[number]
    unlisted = {number: ids[number] for number in sorted(ids) if number not in known}
    report = ScanReport(
        spec=text,
        images=len(images),
        content=images.content,
        labels=pairs.content if pairs else None,
        sizes=sizes,
        pixels=pixels,
        ignored=sum(unlisted.values()),
        unlisted=unlisted,
        problems=tuple(problems),
    )
    write_report(report, cache_path(images.content))
    return report


def _findings(images: Images, pairs: LabelledImages | None) -> Iterator[Finding]:
    """All findings in order, few of them in memory at a time."""
    with_label = frozenset(pairs.images.names) if pairs else frozenset[str]()
    threads = min(16, os.cpu_count() or 1)
    pending: deque[Future[Finding]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for name in images.names:
                own = pairs if name in with_label else None
                pending.append(pool.submit(_look, images, own, name))
                if len(pending) > 4 * threads:
                    yield _marked(pending.popleft().result(), pairs, with_label)
            while pending:
                yield _marked(pending.popleft().result(), pairs, with_label)
        finally:
            # Stopped half-way, by Ctrl-C say: nobody waits for the rest.
            pool.shutdown(wait=False, cancel_futures=True)


def _marked(finding: Finding, pairs: LabelledImages | None, with_label: frozenset[str]) -> Finding:
    """A missing label is a problem where other images have one."""
    if pairs and finding.name not in with_label:
        lacks = Problem(file=finding.name, of="label", what="unlabelled", detail="has no label")
        finding.problems.append(lacks)
    return finding


def _look(images: Images, pairs: LabelledImages | None, name: str) -> Finding:
    """One image, and its label where it has one."""
    size, wrong = _look_at_image(images, name)
    problems = [Problem(file=name, of="image", what=what, detail=detail) for what, detail in wrong]
    if pairs is None:
        return Finding(name, size, {}, problems)
    ids, wrong = _look_at_label(pairs, name, size)
    problems += [Problem(file=name, of="label", what=what, detail=detail) for what, detail in wrong]
    return Finding(name, size, ids, problems)


def _look_at_image(images: Images, name: str) -> tuple[tuple[int, int] | None, Wrong]:
    try:
        pixels = images.source.image(name)
    except Unreadable as error:
        return None, [("unreadable", str(error))]
    size = pixels.shape[0], pixels.shape[1]
    if (pixels == pixels[:1, :1]).all():
        return size, [("constant", "is of a single colour")]
    return size, []


def _look_at_label(
    pairs: LabelledImages, name: str, size: tuple[int, int] | None
) -> tuple[dict[int, int], Wrong]:
    try:
        raw = pairs.labels.raw(name)
    except Unreadable as error:
        return {}, [("unreadable", f"has a label that {error}")]
    wrong: Wrong = []
    if size and raw.shape != size:
        wrong.append(("mismatched", f"is {hxw(size)} while its label is {hxw(raw.shape)}"))
    counts = np.bincount(raw.ravel())
    ids = {int(number): int(counts[number]) for number in np.flatnonzero(counts)}
    if not ids.keys() & pairs.ids.keys():
        wrong.append(("ignored", "has a label without a pixel of a known class"))
    return ids, wrong
