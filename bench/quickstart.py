"""The quickstart, timed and scored over seeds; docs/results.md shows the picture of seed 0.

    python bench/quickstart.py --seeds 0 1 2

Runs `roadshift quickstart` in fresh folders, one after the other, and reads what it leaves: seconds
by step (steps.json), mIoU at home, before and after. Writes bench/results/quickstart.md and .png.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

from deploy_setup import cpu
from PIL import Image

RESULTS = Path(__file__).parent / "results"


def row(seed: int, folder: Path) -> str:
    """One run's line of the table."""
    command = [sys.executable, "-m", "roadshift", "quickstart", "--seed", str(seed)]
    subprocess.run([*command, "--out", str(folder)], check=True)
    read: Any = {name: json.loads((folder / f"{name}.json").read_text())
                 for name in ("steps", "home", "before", "after")}  # fmt: skip
    seconds = [step["seconds"] for step in read["steps"].values()]
    mious = [read[name]["miou"] for name in ("home", "before", "after")]
    cells = [f"{miou:.1f}" for miou in mious] + [f"{mious[2] - mious[1]:+.1f}"]
    cells += [f"{s:.0f}" for s in (*seconds, sum(seconds))]
    return f"| {seed} | " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table, keep it and the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    lines = [
        f"`python bench/quickstart.py`: {cpu()}, two cores, {date.today().isoformat()}. mIoU in "
        "percent over 12 classes on 200 frames; seconds.",
        "",
        "| seed | at home | source-only in the target | adapted | gain | train source-only | adapt "
        "| score | score | score | export | export | all |",
        "|---" * 13 + "|",
    ]
    print("\n".join(lines), flush=True)
    for seed in parser.parse_args().seeds:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "quickstart"
            lines.append(row(seed, out))
            print(lines[-1], flush=True)
            if seed == 0:
                frame = Image.open(out / "pictures" / "1.png")
                frame.save(RESULTS / "quickstart.png", optimize=True)
        (RESULTS / "quickstart.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
