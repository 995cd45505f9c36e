"""The quickstart: two drawn cities, trained, scored and exported by the commands one types."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

from rich.console import Console

from demo.quickstart.before_after import before_after
from demo.quickstart.report import write_report
from demo.quickstart.steps import Done, Runner, Say, Step, run_command, run_steps, shown

SOURCE, TARGET = "toytown:game", "toytown:camera"
# Small enough that all of it takes minutes on two CPU cores: see bench/results/quickstart.md.
TRAINING = (
    "--network lraspp_mobilenet_v2 --weights none --backbone-scale 1 --lr 3e-3 "
    "--batch 4 --crop 96x192 --steps 300"
)
ADAPTING = "--style statistics --style-share 1 --warm-up 200 --ema 0.9 --floor-things 0.7"
"""The target's colours from the first step; its labels from the network itself after 200."""


def quickstart(*, out: Path = Path("quickstart"), seed: int = 0) -> None:
    """Train, score, export and report on two drawn cities, from nothing: a few minutes.

    Runs the commands that you would type, and prints them. A second run goes on where the first
    one stopped.

    Parameters
    ----------
    out
        Folder for everything that is made; delete it when done.
    seed
        Seed of the training.
    """
    console = Console(soft_wrap=True, highlight=False, markup=False)
    run_quickstart(out, seed, say=console.print)


def run_quickstart(out: Path, seed: int, *, say: Say, run: Runner = run_command) -> Path:
    """The quickstart with `run` as the way to run a command; returns the report's path."""
    start = time.monotonic()
    steps = steps_of(out, seed)
    again = ["quickstart", "--out", str(out)] + (["--seed", str(seed)] if seed else [])
    say(f"Everything is written under {out.resolve()}")
    done = run_steps(steps, out, again=shown(again), say=say, run=run)
    bundle = bundle_of(out)
    both = ["demo", str(bundle), str(source_only_bundle_of(out))]
    use = [shown(both), shown(["serve", str(bundle)])]
    pictures = before_after(out / "pictures")
    timed = [(step, done[step.name].seconds) for step in steps]
    report = write_report(out, bundle, timed, pictures, use)
    say(_summary(report, done, time.monotonic() - start))
    say(
        "\n".join(
            ["See before and after in the browser, or serve it:", *(f"  $ {line}" for line in use)]
        )
    )
    return report


def steps_of(out: Path, seed: int) -> list[Step]:
    """The steps in order: what a person would call them, the command, the file it leaves."""
    before, after = out / "source_only", out / "self_training"
    return [
        Step("train on the source only",
             _adapt("source_only", before, seed), before / "last.safetensors"),
        Step("adapt to the target",
             (*_adapt("self_training", after, seed), *shlex.split(ADAPTING)),
             after / "last.safetensors"),
        _score("score source-only at home", before, f"{SOURCE}#val", out / "home"),
        _score("score source-only in the target", before, f"{TARGET}#val", out / "before"),
        _score("score the adapted network in the target", after, f"{TARGET}#val", out / "after"),
        _export("export and verify", after, bundle_of(out)),
        _export("export source-only, to compare with", before, source_only_bundle_of(out)),
    ]  # fmt: skip


def bundle_of(out: Path) -> Path:
    """Where the exported bundle lies."""
    return out / "toytown_bundle"


def source_only_bundle_of(out: Path) -> Path:
    """Where the bundle of the network lies that was trained on the source only."""
    return out / "toytown_source_only"


def _export(name: str, run: Path, bundle: Path) -> Step:
    command = ("export", str(run), "--out", str(bundle), "--data", f"{TARGET}#val")
    return Step(name, command, bundle / "bundle.json")


def _adapt(method: str, run: Path, seed: int) -> tuple[str, ...]:
    line = f"adapt {method} --source {SOURCE} --target {TARGET} {TRAINING} --seed {seed}"
    return (*shlex.split(line), "--out", str(run))


def _score(name: str, run: Path, data: str, file: Path) -> Step:
    """A step that leaves scores in FILE.json and pictures in pictures/FILE."""
    result, pictures = file.with_suffix(".json"), file.parent / "pictures" / file.name
    command = ("evaluate", str(run), "--data", data, "--json", str(result))
    return Step(name, (*command, "--pictures", str(pictures)), result)


def _summary(report: Path, done: dict[str, Done], seconds: float) -> str:
    whole = sum(step.seconds for step in done.values())
    return (
        f"Done: {whole / 60:.1f} minutes of work, {seconds / 60:.1f} of them in this run.\n"
        f"Report: {report}"
    )
