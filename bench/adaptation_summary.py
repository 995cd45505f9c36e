"""One table over all pairs of cities, of what `adaptation.py` has kept: every method on each.

    python bench/adaptation_summary.py

Reads bench/results/PAIR.json, writes bench/results/adaptation.md.
"""

from __future__ import annotations

from pathlib import Path

from adaptation_rows import PAIRS, ROWS
from adaptation_table import Found, gap, measured, spread

RESULTS = Path(__file__).parent / "results"
SHOWN = {name: RESULTS / f"{name}.json" for name in PAIRS}


def cell(title: str, found: Found) -> str:
    """mIoU over the seeds there are, and the share of the gap that it closes."""
    runs = found.get(title, {})
    if not runs:
        return ""
    share = gap(title, found) if title not in ("source_only", "oracle") else ""
    seeds = f", {len(runs)} seeds" if len(runs) > 1 else ""
    return f"{spread([r.miou for r in runs.values()])}{f' ({share})' if share else ''}{seeds}"


def main() -> None:
    """Write the table."""
    pairs = {name: measured(path) for name, path in SHOWN.items() if path.is_file()}
    titles = [title for title in ROWS if any(title in found for found in pairs.values())]
    heads = [f"[{name.replace('_', ' -> ')}]({name}.md)" for name in pairs]
    lines = [
        "# Adaptation, all pairs",
        "",
        "mIoU in percent of the last checkpoint, mean ± deviation over seeds; in brackets the",
        "share of the way from source_only to the oracle of the same seeds. Each pair's page has",
        "its budget, classes, curves and costs. Made by `python bench/adaptation_summary.py`.",
        "",
        f"| | {' | '.join(heads)} |",
        "|---" * (len(heads) + 1) + "|",
    ]
    for title in titles:
        cells = [cell(title, found) for found in pairs.values()]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    text = "\n".join(lines) + "\n"
    (RESULTS / "adaptation.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
