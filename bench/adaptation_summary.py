"""One table for each pair of cities, of the pages of `adaptation.py`: every method, every machine.

    python bench/adaptation_summary.py

Reads bench/results/PAIR*.md of the same budget, writes bench/results/adaptation.md.
"""

from __future__ import annotations

from pathlib import Path

from adaptation_rows import PAIRS, ROWS
from adaptation_table import cost_cells, costs_of

RESULTS = Path(__file__).parent / "results"
MACHINES = {"a CPU core": "", "H200": "_h200", "H200, the first time": "_h200_first"}
UNCHANGED = ("source_only", "oracle")
Page = dict[str, dict[str, str]]
"""by row, then by column"""


def main() -> None:
    """Write the tables."""
    lines = [
        "# Adaptation, pair by pair",
        "",
        "mIoU in percent of the last checkpoint, mean ± deviation over seeds from 0 on. In",
        "brackets the share of the way from source_only to the oracle, seeds and machine being the",
        "same. Minutes: of a CPU core that trains, beside other work. GFLOPs and ms: of a frame",
        "through what is deployed, in torch on the CPU. Budget, classes and curves: the pages that",
        "the tables' heads lead to. Made by `python bench/adaptation_summary.py`.",
        *(line for pair in PAIRS for line in section(pair)),
    ]
    text = "\n".join(lines) + "\n"
    (RESULTS / "adaptation.md").write_text(text)
    print(text)


def section(pair: str) -> list[str]:
    """One pair's heading and table; nothing where it was not run."""
    paths = {name: RESULTS / f"{pair}{suffix}.md" for name, suffix in MACHINES.items()}
    pages = {name: read(path) for name, path in paths.items() if path.is_file()}
    if not pages:
        return []
    costs = costs_of(RESULTS / f"{pair}_costs.json")
    heads = [f"[{name}]({paths[name].name})" for name in pages]
    lines = [
        "",
        f"## {pair.replace('_', ' -> ')}",
        "",
        f"| | {' | '.join(heads)} | minutes | GFLOPs | ms |",
        "|---" * (len(heads) + 4) + "|",
    ]
    on_cpu = pages.get("a CPU core", {})
    for title in (t for t in ROWS if any(t in page for page in pages.values())):
        cells = [cell(title, page) for page in pages.values()]
        cells += [on_cpu.get(title, {}).get("minutes", ""), *cost_cells(title, costs)]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return lines


def read(path: Path) -> Page:
    """The page's first table."""
    rows = [line.strip("| ") for line in path.read_text().split("\n\n")[2].splitlines()]
    head, _, *rows = ([cell.strip() for cell in row.split(" | ")] for row in rows)
    return {title: dict(zip(head, cells, strict=True)) for title, *cells in rows}


def cell(title: str, page: Page) -> str:
    """mIoU over the seeds there are, and the share of the gap that it closes."""
    if title not in page:
        return ""
    row = page[title]
    share = "" if title in UNCHANGED else f" ({row['gap']})"
    seeds = row["seeds"].count(",") + 1
    return f"{row['mIoU']}{share}{f', {seeds} seeds' if seeds > 1 else ''}"


if __name__ == "__main__":
    main()
