"""The command `roadshift verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from export.bundle import PRECISIONS, Trust, read_bundle
from roadshift import unknown
from serve.cli.device_options import Flat
from serve.runtime.providers import computes


def verify(
    bundle: Path,
    /,
    *,
    provider: Literal["cpu", "cuda", "tensorrt"] = "cpu",
    precision: str = "all",
    threads: int = 0,
    runs: int = 20,
    trust: Annotated[Trust, Flat] = Trust(),
) -> None:
    """Check a bundle on this device: its files, its graphs, its golden frames; and time it.

    Ends with exit code 0 when all is as it was when the bundle was made. Otherwise the first
    difference is said in one sentence, and the exit code is 2 for damaged files, 1 for the rest.

    Parameters
    ----------
    bundle
        A folder made by `roadshift export`.
    provider
        What runs it: the CPU, CUDA, or TensorRT through ONNX Runtime.
    precision
        Which of the bundle's precisions, with commas between them, or all that the provider has
        kernels for.
    threads
        CPU threads for one call; 0: one a core.
    runs
        How often a frame is timed in each precision.
    """
    from serve.device_check.verify import check_device  # noqa: PLC0415 - --help answers without loading these

    asked = [] if precision == "all" else [name.strip() for name in precision.split(",")]
    if strange := [name for name in asked if name not in PRECISIONS]:
        raise unknown("precision", strange[0], (*PRECISIONS, "all"))
    read = read_bundle(bundle, trust)
    there = [name for name in read.precisions if computes(provider, name)]
    report = check_device(
        read, provider=provider, precisions=asked or there, threads=threads, runs=runs
    )
    print(f"the {len(read.files)} files of {read.folder} are those that were checked")
    print(report.text())
    if not asked and (left_out := [name for name in read.precisions if name not in there]):
        print(f"note: {', '.join(left_out)} left out: {provider} has no kernels for it")
    classes = read.limits(read.precisions[0]).get("classes")
    if classes is None:
        print(
            "note: its golden frames know labels alone, of no class by itself (an older format): "
            "export the run again to have classes, confidence and logits checked"
        )
    elif not classes:
        print("note: no class is checked by itself: the golden frames show too little of each")
    if missing := read.checks.get("no_evidence"):
        print(f"note: no evidence for {', '.join(missing)}: the golden frames hardly show them")
