"""MLPerf LoadGen's SingleStream through the library: the latency that 999 of 1,000 frames keep.

    python bench/loadgen.py BUNDLE FOLDER [--queries 6636] [--out bench/results/loadgen.md]

FOLDER holds JPEG files, which LoadGen draws from in its own order; each query goes from the file's
bytes to the bytes of a PNG file of labels, one after the other. 6,636 queries are what MLPerf
Automotive asks of this scenario. Its other rules (its own network, 8 megapixels, its accuracy) are
not kept: no MLPerf result, its measuring tool. Needs mlcommons-loadgen.
"""

from __future__ import annotations

import argparse
import array
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

from deploy_setup import cpu

from serve.library import open_bundle
from serve.media.codec import encode_png
from serve.media.files import images_in

loadgen: Any = import_module("mlperf_loadgen")  # has no types
LATENCIES = ["Min", "Mean", *(f"{p} percentile" for p in ("50.00", "99.00", "99.90")), "Max"]
WANTED = {
    "valid": r"Result is : (\w+)",
    "queries": r"min_query_count : (\d+)",
    **{name: rf"{name} latency \(ns\) +: (\d+)" for name in LATENCIES},
}


def single_stream(answer: Callable[[bytes], bytes], files: Sequence[bytes], queries: int) -> str:
    """LoadGen's summary of so many calls, one after the other."""

    def issue(samples: Sequence[Any]) -> None:
        for sample in samples:
            answered = array.array("B", answer(files[sample.index]))
            at, size = answered.buffer_info()
            loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(sample.id, at, size)])

    def nothing(*_: object) -> None:
        """The files are in memory, and no query is left behind."""

    settings = loadgen.TestSettings()
    settings.scenario = loadgen.TestScenario.SingleStream
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.min_query_count, settings.min_duration_ms = queries, 0
    settings.single_stream_target_latency_percentile = 0.999
    log, here = loadgen.LogSettings(), Path.cwd()
    asked = loadgen.ConstructSUT(issue, nothing)
    samples = loadgen.ConstructQSL(len(files), len(files), nothing, nothing)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # where it writes its logs
        try:
            loadgen.StartTestWithLogSettings(asked, samples, settings, log)
            return Path("mlperf_log_summary.txt").read_text()
        finally:
            os.chdir(here)
            loadgen.DestroyQSL(samples)
            loadgen.DestroySUT(asked)


def main() -> None:
    """Reads the command line, measures, writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--queries", type=int, default=6636)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    files = [path.read_bytes() for path in images_in(options.folder)]
    bundle = open_bundle(options.bundle)

    def answer(jpeg: bytes) -> bytes:
        return encode_png(bundle.segment(jpeg).labels)

    answer(files[0])
    summary = single_stream(answer, files, options.queries)
    found = {name: match[1] for name, of in WANTED.items() if (match := re.search(of, summary))}
    about = (
        f"`python bench/loadgen.py`: {cpu()}, {os.cpu_count()} cores, {len(files)} frames, JPEG to "
        f"PNG of labels, {date.today()}. LoadGen says {found.pop('valid')}."
    )
    rows = [f"| queries | {found.pop('queries')} |", "|---|---|"]
    rows += [f"| {name} | {int(took) / 1e6:.1f} ms |" for name, took in found.items()]
    text = "\n".join([about, "", *rows]) + "\n"
    print(text)
    if options.out:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
