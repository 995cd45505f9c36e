"""One row a method over all pairs of cities, then every row of each pair, every machine.

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
# Of each, what a pair has of these rows, the first of them on the first of the machines.
SHOWN = {
    "source_only": ("source_only",),
    "source_only, styled": (
        "source_only all styled and rare classes",
        "source_only all styled",
        "source_only + style",
    ),
    "output_adversary": ("output_adversary", "output_adversary + style"),
    "ldr": ("ldr T->S + rec",),
    "IntraDA": ("IntraDA",),
    "intra_domain": ("intra_domain + KLD",),
    "intra_domain behind self_training, with mix": (
        "intra_domain mixed behind self_training all styled",
        "intra_domain mixed behind self_training usual sampling",
    ),
    "symmetric": ("symmetric", "symmetric + style"),
    "symmetric, with mix and style": (
        "symmetric mixed all styled and rare classes",
        "symmetric mixed all styled",
        "symmetric mixed + style",
    ),
    "pivot": ("pivot",),
    "pivot, less of L_c or of both, styled": (
        "pivot mean L_c all styled and rare classes",
        "pivot mean L_c all styled",
        "pivot a tenth all styled and rare classes",
        "pivot a tenth + style",
    ),
    "feature_to_image": ("feature_to_image",),
    "feature_to_image, styled": (
        "feature_to_image all styled and rare classes",
        "feature_to_image all styled",
        "feature_to_image + style",
    ),
    "self_training": ("self_training",),
    "self_training, all styled": (
        "self_training all styled and rare classes",
        "self_training all styled",
    ),
    "LR-ASPP student": ("LR-ASPP student",),
    "oracle": ("oracle",),
}
Page = dict[str, dict[str, str]]
"""by row, then by column"""


def main() -> None:
    """Write the tables."""
    pages = {pair: found for pair in PAIRS if (found := pages_of(pair))}
    lines = [
        "# Adaptation",
        "",
        "mIoU in percent of the last checkpoint, mean ± deviation over seeds from 0 on. In",
        "brackets the share of the way from source_only to the oracle, seeds and machine being the",
        "same. Made by `python bench/adaptation_summary.py`.",
        "",
        "## All pairs",
        "",
        "Of each method one row, or none; a star: on an H200, all else on a CPU core. What a row",
        "is called on a pair is in that pair's table, with all others.",
        "",
        *headline(pages),
        "",
        "## Pair by pair",
        "",
        "Minutes: of a CPU core that trains, beside other work. GFLOPs and ms: of a frame through",
        "what is deployed, in torch on the CPU. Budget, classes and curves: the pages that the",
        "tables' heads lead to.",
        *(line for pair in pages for line in section(pair, pages[pair])),
    ]
    text = "\n".join(lines) + "\n"
    (RESULTS / "adaptation.md").write_text(text)
    print(text)


def pages_of(pair: str) -> dict[str, Page]:
    """What was measured of a pair, by machine."""
    paths = {machine: RESULTS / f"{pair}{suffix}.md" for machine, suffix in MACHINES.items()}
    return {machine: read(path) for machine, path in paths.items() if path.is_file()}


def headline(pages: dict[str, dict[str, Page]]) -> list[str]:
    """The table of SHOWN, a column for each pair."""
    lines = [
        f"| | {' | '.join(pair.replace('_', ' -> ') for pair in pages)} |",
        "|---" * (len(pages) + 1) + "|",
    ]
    for name, titles in SHOWN.items():
        cells = list[str]()
        for found in pages.values():
            there = ((t, machine) for t in titles for machine in found if t in found[machine])
            title, machine = next(there, ("", ""))
            star = "" if machine == next(iter(MACHINES)) else " *"
            cells.append(cell(title, found[machine]) + star if title else "")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def section(pair: str, pages: dict[str, Page]) -> list[str]:
    """One pair's heading and table."""
    costs = costs_of(RESULTS / f"{pair}_costs.json")
    heads = [f"[{machine}]({pair}{MACHINES[machine]}.md)" for machine in pages]
    lines = [
        "",
        f"### {pair.replace('_', ' -> ')}",
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
    share = "" if title in UNCHANGED or not row["gap"] else f" ({row['gap']})"
    seeds = row["seeds"].count(",") + 1
    return f"{row['mIoU']}{share}{f', {seeds} seeds' if seeds > 1 else ''}"


if __name__ == "__main__":
    main()
