"""10,000 requests and more of schemathesis against a running server: which statuses come of it.

    python bench/fuzz.py [--requests 10000] [--seed 1] [--out bench/results/fuzz.md]

The requests follow from the server's own OpenAPI document, right ones and wrong ones, in three
ways: as described, with damaged images, and with bundles that are loaded and unloaded meanwhile.
What tests/fuzz_hooks.py and tests/schemathesis.toml say holds. The counts are the server's own
(/metrics). Ends with exit code 1 for a status 500, and for an answer that is not as described.
Needs schemathesis, onnx and httpx.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import date
from pathlib import Path
from typing import NamedTuple

import httpx
from attacks import Running, serving
from deploy_setup import cpu
from serve_overhead import trivial_bundle

ROOT = Path(__file__).resolve().parents[1]
CLI = "from schemathesis.cli import schemathesis as st; st()"
SAMPLE = re.compile(r'roadshift_http_requests_total\{route="(.+)",status="(\d+)"\} (\S+)')


class Way(NamedTuple):
    """How the server is asked, and how it was started for that."""

    name: str
    server: str
    schemathesis: str
    environment: dict[str, str]
    share: float
    """Of the requests."""


_UNJUDGED = "--exclude-checks positive_data_acceptance,negative_data_rejection"
_IMAGES = f"--max-examples 300 --phases fuzzing --include-path-regex (segment|infer)$ {_UNJUDGED}"
_LOADING = "--max-examples 60 --phases fuzzing,stateful"
WAYS = (
    Way("as described", "", "--max-examples 60", {}, 0.6),
    Way("damaged images", "", _IMAGES, {"FUZZ_DAMAGED": "1"}, 0.3),
    Way("loading and unloading", "--model-control explicit", _LOADING, {}, 0.1),
)


def counts(server: Running) -> Counter[tuple[str, int]]:
    """How often each route was answered with each status, by the server's count."""
    text = httpx.get(f"{server.address}/metrics", timeout=60).text
    found = SAMPLE.findall(text)
    return Counter({(route, int(status)): int(float(n)) for route, status, n in found})


def asked(server: Running, way: Way, seed: int) -> str | None:
    """One round of requests; what schemathesis says where an answer was not as described."""
    options = f"--seed {seed} --warnings off {way.schemathesis}"
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                *(
                    sys.executable,
                    "-c",
                    CLI,
                    "--config-file",
                    str(ROOT / "tests/schemathesis.toml"),
                ),
                *("run", f"{server.address}/openapi.json", *options.split()),
            ],
            cwd=folder,
            env={**os.environ, **way.environment, "PYTHONPATH": str(ROOT / "tests")},
            capture_output=True,
            text=True,
            check=False,
        )
    return done.stdout + done.stderr if done.returncode else None


def rounds(
    way: Way, bundle: Path, requests: int, seed: int
) -> tuple[Counter[tuple[str, int]], list[str]]:
    """A server of its own is asked till it has answered so many; the counts, and complaints."""
    complaints: list[str] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(ROOT, bundle, Path(folder), way.server) as server,
    ):
        while (found := counts(server)).total() < requests:
            complaint = asked(server, way, seed)
            complaints += [complaint] if complaint else []
            seed += 1
            print(way.name, found.total(), "complaint" if complaint else "", flush=True)
        log = (Path(folder) / "log").read_text()
    if "Traceback" in log:
        complaints.append(log[log.index("Traceback") :][:4000])
    return found, complaints


def table(found: Counter[tuple[str, int]]) -> str:
    """A row a route, a column a status."""
    statuses = sorted({status for _, status in found})
    lines = [
        "| route | " + " | ".join(map(str, statuses)) + " |",
        "|---" * (1 + len(statuses)) + "|",
    ]
    for route in sorted({route for route, _ in found}):
        cells = [str(found[route, status] or "") for status in statuses]
        lines.append(f"| `{route}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Reads the command line, asks, writes the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found, complaints, began = Counter[tuple[str, int]](), list[str](), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        bundle = trivial_bundle(Path(folder) / "bundle", name="tiny").folder
        for way in WAYS:
            more, said = rounds(way, bundle, int(way.share * options.requests), options.seed)
            found += more
            complaints += said
    broken = sum(n for (_, status), n in found.items() if status == 500)
    about = (
        f"`python bench/fuzz.py`: {cpu()}, {os.cpu_count()} cores, schemathesis "
        f"{importlib.metadata.version('schemathesis')}, seeds from {options.seed} on, "
        f"{time.perf_counter() - began:.0f} s, {date.today()}.\n\n"
        f"{found.total()} requests: {broken} times status 500, {len(complaints)} rounds with an "
        "answer that is not as described.\n"
    )
    print(about, table(found), *complaints, sep="\n")
    if options.out:
        options.out.write_text(f"{about}\n{table(found)}\n")
    sys.exit(1 if broken or complaints else 0)


if __name__ == "__main__":
    main()
