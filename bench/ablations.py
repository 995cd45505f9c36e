"""The papers' ablation tables as recipes, run once at a small size.

    python bench/ablations.py intra_domain symmetric pivot feature_to_image/table4

A method stands for all of its recipes but those that set sizes of their own (Table 3 of
feature_to_image, up to 512x1024: nothing for a CPU). Table 5 of pivot reads a presence.json of the
target, as its recipe says.
camvid's day to its dusk at half the size and 200 steps a stage, one seed: whether every part can be
taken out and the rows are ordered sensibly, not what a part is worth (the longer runs of
`adaptation.py` say that). Rows of several tables that train the same train it once. Writes
bench/results/ablations.md; tables that an earlier call made are kept in the JSON file beside it.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from adaptation import roadshift
from adaptation_rows import INTRA, PAIRS, PIVOT, REDRAWN, SYMMETRIC

HERE = Path(os.path.relpath(Path(__file__).parent))
RESULTS = HERE / "results" / "ablations.md"
RECIPES = HERE.parent / "adapt" / "methods"
STEPS, SIZE, CROP = 200, "120x160", "96x128"
OPTIONS = {
    "intra_domain": INTRA,
    "symmetric": SYMMETRIC,
    "feature_to_image": REDRAWN,
    "pivot": PIVOT,
}


def main() -> None:
    """Run what is missing, write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("recipes", nargs="*", metavar="METHOD[/TABLE]", help=", ".join(OPTIONS))
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--out", default="runs/ablations")
    asked = parser.parse_args()
    kept = RESULTS.with_suffix(".json")
    tables: dict[str, Any] = json.loads(kept.read_text()) if kept.is_file() else {}
    for method, recipe in (pair for name in asked.recipes for pair in recipes(name)):
        found = ablation(method, recipe, Path(asked.out) / method, asked.data)
        tables[f"{method}, {recipe}"] = found
        kept.write_text(json.dumps(tables, indent=1) + "\n")
        RESULTS.write_text(page(tables))
    RESULTS.write_text(page(tables))
    print(RESULTS.read_text())


def recipes(name: str) -> list[tuple[str, str]]:
    """METHOD/TABLE as it is; of a METHOD all that train at this size."""
    method, _, table = name.partition("/")
    if table:
        return [(method, table)]
    files = sorted((RECIPES / method / "recipes").glob("*.toml"))
    return [(method, file.stem) for file in files if "size =" not in file.read_text()]


def ablation(method: str, recipe: str, out: Path, data: str) -> dict[str, Any]:
    """Title and rows of one table, as the command leaves them."""
    pair = PAIRS["camvid_dusk"]
    filled = {"data": data, "bench": str(HERE), "quarter": str(STEPS)}
    words = [
        *("adapt", method, "--source", pair.source.train, "--target", pair.target.train),
        *("--source-size", SIZE, "--size", SIZE, "--crop", CROP, "--batch", "4"),
        *("--steps", str(STEPS), "--seed", "0", "--threads", "1", "--cache", "memory"),
        *("--ablation", recipe, "--scored-on", pair.target.val, "--out", str(out)),
        *pair.options.split(),
        *("--scale", *pair.scale.split()),
        *OPTIONS[method].split(),
    ]
    roadshift(*(word.format(**filled) for word in words))
    return json.loads((out / "ablation.json").read_text())


def page(tables: dict[str, Any]) -> str:
    """mIoU and IoU per class of every row of every table."""
    lines = [
        "# The papers' tables, at a small size",
        "",
        f"camvid day -> dusk at {SIZE}, crops of {CROP}, {STEPS} steps of 4 images a stage,",
        "LR-ASPP MobileNetV2, seed 0; IoU in percent on 18 frames, labels at full size. One run a",
        "row: rows within about 3 points of each other are not told apart. Made by",
        "`python bench/ablations.py`.",
    ]
    for name, table in tables.items():
        rows = table["rows"]
        classes = list(next(iter(rows.values()))["iou"])
        lines += [
            "",
            f"## {name}: {table['title']}",
            "",
            "| | mIoU | " + " | ".join(classes) + " |",
        ]
        lines.append("|---" * (len(classes) + 2) + "|")
        for title, row in rows.items():
            cells = ["absent" if row["iou"][c] is None else f"{row['iou'][c]:.1f}" for c in classes]
            lines.append(f"| {title} | {row['miou']:.1f} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
