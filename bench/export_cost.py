"""What `roadshift export` costs: seconds and peak memory per network, in fp32 and with INT8.

    python bench/export_cost.py LR-ASPP=runs/lraspp PIDNet-S=runs/pidnet --data folder:CITY#val

Each row is one run of the command line in a process of its own, at --threads threads; the peak is
the largest resident memory that the kernel saw of it. Writes bench/results/export_cost.md; rows
that an earlier call measured are kept in the JSON file beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from deploy_setup import cpu, say

from export.bundle import read_bundle

RESULTS = Path(__file__).parent / "results" / "export_cost.md"
PRECISIONS = ("fp32", "fp32,int8")


class Cost(NamedTuple):
    """Of one process: its exit status, seconds, peak of resident memory in MB, its last lines."""

    status: int
    seconds: float
    peak_mb: float
    said: str


def main() -> None:
    """Export every run in every precision, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("runs", nargs="*", help="NAME=RUN; none: the table of what is measured")
    parser.add_argument("--data", help="labelled frames to hold the budget on; without: none")
    parser.add_argument("--calibration", help="frames; the run's target by default")
    parser.add_argument("--count", type=int, default=12, help="frames to compare on")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--calibrate", default="entropy", help="entropy, percentile or minmax")
    asked = parser.parse_args()
    kept = RESULTS.with_suffix(".json")
    rows: dict[str, Any] = json.loads(kept.read_text()) if kept.is_file() else {}
    for one in asked.runs:
        name, _, run = one.partition("=")
        for precision in PRECISIONS:
            ranges = f" ({asked.calibrate})" if precision != "fp32" else ""
            rows[f"{name}, {precision}{ranges}"] = exported(Path(run), precision, asked)
            kept.write_text(json.dumps(rows, indent=1) + "\n")
    RESULTS.write_text(table(rows))
    print(RESULTS.read_text())


def exported(run: Path, precision: str, asked: argparse.Namespace) -> dict[str, Any]:
    """One export, for JSON."""
    with tempfile.TemporaryDirectory() as folder:
        # A copy: ranges of an earlier calibration in the run's folder would be taken.
        copy, out = Path(folder) / "run", Path(folder) / "bundle"
        copy.mkdir()
        for file in ("run.json", "last.safetensors"):
            shutil.copy(run / file, copy)
        command = ["export", str(copy), "--out", str(out), "--precision", precision]
        command += ["--count", str(asked.count)]
        command += ["--data", asked.data] if asked.data else []
        if asked.calibration and precision != "fp32":
            command += ["--calibration", asked.calibration]
        command += ["--calibrate", asked.calibrate] if precision != "fp32" else []
        say(f"  {' '.join(command)}")
        cost = costs([sys.executable, "-m", "roadshift", *command], asked.threads)
        row: dict[str, Any] = {
            "precision": precision,
            "frames": asked.count,
            "seconds": cost.seconds,
            "peak_mb": cost.peak_mb,
            "cpu": f"{cpu()}, {asked.threads} thread(s)",
            "error": without_places(cost.said, folder, asked.data) if cost.status else "",
        }
        if not cost.status:
            bundle = read_bundle(out)
            last = bundle.precisions[-1]
            made = bundle.checks["precisions"][last]
            check = made["sizes"][0]
            row |= {
                "size": check["size"],
                "agreement": check["agreement"],
                "steps": len(made.get("search", [])),
                "kept": len(made.get("kept_in_fp32", [])),
                "mb": sum(path.stat().st_size for path in out.rglob("*.onnx")) / 1e6,
            }
        return row


def without_places(said: str, folder: str, data: str | None) -> str:
    """What was said, without this machine's paths."""
    return said.replace(f"{folder}/", "").replace(data or "--data", "DATA")


def costs(command: list[str], threads: int) -> Cost:
    """Runs a process to its end."""
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        said.seek(0)
        last = said.read().decode().strip().splitlines()[-1:]
    code = os.waitstatus_to_exitcode(status)
    return Cost(code, seconds, usage.ru_maxrss / 1e3, last[0] if last else f"exit status {code}")


def table(rows: dict[str, Any]) -> str:
    """The page."""
    lines = [
        "# What an export costs",
        "",
        f"`roadshift export` in a process of its own on {next(iter(rows.values()))['cpu']}, beside",
        "other work: seconds from start to end (torch imported, network exported, calibrated,",
        "searched, compared with torch at three sizes and in batches, tried as a server does), and",
        "the most resident memory. INT8 with ranges from 32 frames; steps are graphs that its",
        "search measured, kept the groups of layers left in fp32. Made by",
        "`python bench/export_cost.py`.",
        "",
        "| network | frames | seconds | peak MB | ONNX MB | labels equal | steps | kept |",
        "|---" * 8 + "|",
    ]
    for name, row in rows.items():
        cells = [name, str(row["frames"]), f"{row['seconds']:.0f}", f"{row['peak_mb']:.0f}"]
        if row["error"]:
            cells += [f"no bundle: {row['error']}", "", "", ""]
        else:
            cells += [f"{row['mb']:.0f}", f"{row['agreement']:.2%}", str(row["steps"])]
            cells += [str(row["kept"])]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
