"""Faults of many kinds planted in a good bundle, hashes put right: which does `verify` find?

    python bench/planted_faults.py BUNDLE --count 60

BUNDLE needs fp32, fp16 and int8, and a network that works at a size of its own. Each fault (see
`planted_faults_kinds.py`) is planted in a copy whose every hash fits, then the copy is read with
the good bundle's digest where the fault is one of the manifest's, and checked on this machine.
Writes bench/results/planted_faults.md.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
from planted_faults_kinds import KINDS, Material, Planted, Random, manifest

from export.bundle import Bundle, Trust, read_bundle, write_bundle
from roadshift import Failure, UserError
from serve.device_check.verify import check_device

HERE = Path(__file__).parent


def main() -> None:
    """Plant them in turns, print and write what became of each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    good = read_bundle(asked.bundle)
    if wrong := tried(good, unharmed, np.random.default_rng(0))[1]:
        raise SystemExit(f"a copy without a fault is refused, so no refusal says anything: {wrong}")
    random, rows = np.random.default_rng(asked.seed), list[tuple[str, str, str]]()
    for i in range(asked.count):
        kind = KINDS[i % len(KINDS)]
        what, found = tried(good, kind, random)
        rows.append((kind.__name__, what, found or "**not found**"))
        print(" | ".join(rows[-1]), flush=True)
    text = written(good, rows)
    (HERE / "results" / "planted_faults.md").write_text(text)
    print(text.splitlines()[2])


def unharmed(material: Material) -> Planted:
    """No fault at all: what is tried first."""
    return material.bundle, "nothing", nullcontext()


def tried(good: Bundle, kind: Callable[..., Planted], random: Random) -> tuple[str, str]:
    """One fault, and the first words of the error that it ends in ("": none)."""
    names = [name for name in good.files if not name.startswith("golden/")]
    contents = {name: good.path(name).read_bytes() for name in names}
    changed, what, fault = kind(Material(good, contents, random))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / good.name
        write_bundle(replace(changed, folder=place), contents, good.golden())
        try:
            bundle = read_bundle(place, Trust(digest=good.digest if kind is manifest else None))
            with fault:
                check_device(bundle, precisions=bundle.precisions, runs=1)
        except (Failure, UserError) as error:
            return what, str(error).replace(str(place), "BUNDLE")[:110]
    return what, ""


def written(good: Bundle, rows: list[tuple[str, str, str]]) -> str:
    """The table."""
    caught = sum(found != "**not found**" for _, _, found in rows)
    lines = [
        f"# Faults planted in a bundle: {good.provenance['network']}, {len(good.classes)} classes",
        "",
        f"{caught} of {len(rows)} are found. Every hash fits; faults of `bundle.json` are found by",
        "its digest. Made by `python bench/planted_faults.py BUNDLE`.",
        "",
        "| kind | what | found by |",
        "|---|---|---|",
        *(f"| {kind} | {what} | {found} |" for kind, what, found in rows),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
