"""How well each of the server's signals ranks frames, and pixels, by their true error.

    python bench/monitor.py bundles/city camvid:camvid#val bundles/other folder:cityscapes_small#val

Each bundle, with a reconstructor, segments the labelled data that follow it, as filmed and spoilt
in four ways. Labels serve to score alone. Runs on the CPU with one thread; needs scikit-learn.
Writes bench/results/monitor.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from deploy_setup import cpu, say
from monitor_signals import MAPS, OLD, PIXELS, SIGNALS, SPOILT, Looked, Looker, auroc, stale, timed

from adapt.data.datasets import labelled
from adapt.evaluation.label_free import rank_correlation
from export.bundle import read_bundle
from export.bundle.data_name import data_name
from roadshift import replacing
from serve.models.self_check.self_check import UNUSUAL

RESULTS = Path(__file__).parent / "results" / "monitor.md"
HOW = f"""\
# Which frames are segmented badly? What each signal knows of it

**Frames**: Spearman's rank correlation of a signal with the share of a frame's labelled pixels that
are wrong (1: ranks as the truth does). `all together` are the frames as filmed and the same ones
spoilt in each of the other ways. **Maps**: AUROC of telling wrong pixels (every {PIXELS}th of a
frame) and wrong cells (more than half of a cell's labelled pixels) by a signal's map, as filmed.
`local contrast` sees no labels and no network: what a signal adds is what it has beyond that.

**Labels of another frame**: AUROC by which the self-check tells the labels of the {OLD}th of these
frames before from a frame's own, as a stuck or late answer gives them, and how many of them it
calls unusual (a score above {UNUSUAL}). Entropy and confidence come with the labels and are as low
as ever (0.5).

Times are medians of ten with one thread; what else the machine did then makes them longer.
"""


def main() -> None:
    """Look at all data and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", nargs="+", help="BUNDLE DATA, and again")
    parser.add_argument("--every", type=int, default=1, help="take every so many frames")
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    pairs = zip(asked.pairs[::2], asked.pairs[1::2], strict=True)
    parts = [part for bundle, data in pairs for part in measured(Path(bundle), data, asked.every)]
    how = f"python bench/monitor.py BUNDLE DATA ... --every {asked.every}"
    made = f"Made by `{how}`: {cpu()}, one thread, {datetime.now(UTC):%Y-%m-%d}."
    with replacing(RESULTS) as path:
        path.write_text("\n".join([HOW, made, *parts]) + "\n")


def measured(folder: Path, spec: str, every: int) -> Iterator[str]:
    """The page's part of one bundle and its data, line by line."""
    bundle = read_bundle(folder)
    looker, data = Looker(bundle), labelled(spec).with_classes(bundle.classes)
    looks: dict[str, list[Looked]] = {how: [] for how in SPOILT}
    for i in range(0, len(data), every):
        say(f"{spec}: frame {i + 1} of {len(data)}")
        image, label = np.asarray(data.image(i)), np.asarray(data.label(i))
        for how, spoil in SPOILT.items():
            looks[how].append(looker.look(spoil(image), label))
    filmed, facts = looks["as filmed"], bundle.provenance
    wrong = 100 * np.mean([one.error for one in filmed])
    source, target = data_name(facts["source"]), data_name(facts["target"])
    drawn = data_name(facts["reconstructor"].get("source", facts["source"]))
    usual = bundle.checks["self_check"]["frames"]
    yield f"\n## {source} -> {target}, {facts['method']}\n"
    yield (
        f"{len(filmed)} frames of {data_name(spec)} {spec.partition('#')[2]}, {wrong:.1f} % of the "
        f"pixels wrong. The reconstructor learnt from labels of {drawn}; usual frames were {usual} "
        "of the target's.\n"
    )
    yield from frames_table(looks)
    yield from maps_table(filmed)
    old = stale(looker, filmed)
    yield f"\nLabels of another frame: AUROC {old.auroc:.2f}; {100 * old.unusual:.0f} % unusual.\n"
    for size in (filmed[0].image.shape[:2], (1024, 2048)):
        image = cv2.resize(filmed[0].image, size[::-1])
        took = timed(looker, image.astype(np.uint8))
        yield (
            f"A frame of {size[0]}x{size[1]}: segmented in {took[0]:.0f} ms, drawn in "
            f"{took[1]:.0f} ms, compared in {took[2]:.0f} ms."
        )


def frames_table(looks: Mapping[str, Sequence[Looked]]) -> Iterator[str]:
    """Signals down, ways to spoil a frame across."""
    together = [one for each in looks.values() for one in each]
    columns = {**looks, "all together": together}
    yield "| frames | " + " | ".join(columns) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for signal, meaning in SIGNALS.items():
        yield row(meaning, [f"{correlation(each, signal):+.2f}" for each in columns.values()])
    errors = [100 * np.mean([one.error for one in each]) for each in columns.values()]
    yield row("*pixels wrong, %*", [f"{error:.1f}" for error in errors])
    shares = [
        100 * np.mean([one.signals["self-check"] > UNUSUAL for one in each])
        for each in columns.values()
    ]
    yield row("*frames that the self-check calls unusual, %*", [f"{s:.0f}" for s in shares])


def maps_table(filmed: Sequence[Looked]) -> Iterator[str]:
    """How well maps find what is wrong."""
    yield "\n| maps | pixels | cells |\n|---|---|---|"
    wrong = np.concatenate([one.wrong for one in filmed])
    cells = np.concatenate([one.wrong_cells for one in filmed])
    for name, meaning in MAPS.items():
        fine = np.concatenate([one.pixels[name] for one in filmed])
        coarse = np.concatenate([one.cells[name] for one in filmed])
        yield row(meaning, [f"{auroc(fine, wrong):.3f}", f"{auroc(coarse, cells):.3f}"])


def correlation(looked: Sequence[Looked], signal: str) -> float:
    """Of that signal with the error."""
    values = [one.signals[signal] for one in looked]
    return rank_correlation(values, [one.error for one in looked])


def row(*parts: Any) -> str:
    """A line of a table: its name, and the cells."""
    return f"| {parts[0]} | " + " | ".join(parts[1]) + " |"


if __name__ == "__main__":
    main()
