"""The only training loop: step, log, save, resume. It knows no method; a method knows no loop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from lightning.fabric import Fabric
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]
from torch.optim import Optimizer
from torch.utils.data import Dataset

from adapt import saved_state
from adapt.data.drawing.batches import Batch, batches
from adapt.game import Losses
from adapt.monitor import Monitor
from adapt.optimizers import DECAYS
from adapt.run import Run
from roadshift import Failure, UserError


@runtime_checkable
class Method(Protocol):
    """What the loop needs: what moves and is saved, and how it moves."""

    @property
    def state(self) -> Mapping[str, nn.Module | Optimizer]: ...
    def step(self, batch: Batch) -> Losses:
        """Move every player once; return their detached losses."""
        ...


def fit(
    method: Method, draws: Dataset[Batch], run: Run, fabric: Fabric, monitor: Monitor | None
) -> None:
    """Train `method` up to `run.steps`, from its last checkpoint if there is one.

    Only one process has a monitor. Raises Failure when a loss is not finite, or when asked to stop
    (SIGINT, SIGTERM), after saving.
    """
    last = run.out / "last.safetensors"
    _prepare(method, run, fabric)
    start = saved_state.load(last, method.state) if last.is_file() else 0
    if monitor:
        monitor.resume_at(start)
    source = batches(draws, run, start=start, rank=fabric.global_rank)
    with _stopping() as stop, monitor or nullcontext():
        for step in range(start, run.steps):
            batch = _next(source).to(fabric.device)
            torch.manual_seed(run.seed * 1_000_003 + step * run.devices + fabric.global_rank)
            _set_rates(method, run, step)
            with fabric.autocast():
                losses = method.step(batch)
            done, stopped = step + 1, fabric.broadcast(stop.is_set())
            keeping = run.keep_every > 0 and done % run.keep_every == 0
            saving = done % run.save_every == 0 or done == run.steps or stopped or keeping
            if saving or done % run.log_every == 0 or fabric.device.type == "cpu":
                _check_finite(losses, done, run)
            if monitor:
                monitor.after(done, losses, _rate(method))
            if saving:
                _save(method, last, done, fabric, monitor, keeping)
            if stopped and done < run.steps:
                raise Failure(
                    f"stopped after step {done} of {run.steps}, saved; the same command goes on"
                )


def _prepare(method: Method, run: Run, fabric: Fabric) -> None:
    """Move all networks to the device and put them in the run's batch-norm mode."""
    for part in method.state.values():
        if isinstance(part, nn.Module):
            part.to(fabric.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
            part.train()
            _set_batch_norm(part, run)
    for optimizer in _optimizers(method):
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    if run.compile:
        for part in method.state.values():
            if isinstance(part, nn.Module):
                part.compile()


def _set_batch_norm(network: nn.Module, run: Run) -> None:
    if run.batch_norm == "sync":
        nn.SyncBatchNorm.convert_sync_batchnorm(network)
    if run.batch_norm == "frozen":
        for layer in network.modules():
            if isinstance(layer, _BatchNorm):
                layer.eval()
                layer.requires_grad_(False)


def _set_rates(method: Method, run: Run, step: int) -> None:
    """Every group of parameters decays as its optimizer says."""
    for optimizer in _optimizers(method):
        for group in optimizer.param_groups:
            factor = DECAYS[group.get("decay", "polynomial")](step, run.steps)
            group["lr"] = group["initial_lr"] * factor


def _optimizers(method: Method) -> list[Optimizer]:
    return [part for part in method.state.values() if isinstance(part, Optimizer)]


def _rate(method: Method) -> float:
    return float(_optimizers(method)[0].param_groups[-1]["lr"])


def _next(source: Iterator[Batch]) -> Batch:
    try:
        return next(source)
    except (UserError, Failure) as error:
        # A loader process hands its error over with a traceback in front of the sentence.
        kind = type(error)
        raise kind(str(error).rpartition(f"{kind.__name__}: ")[2].strip()) from None


def _check_finite(losses: Losses, step: int, run: Run) -> None:
    for name, loss in losses.items():
        if not bool(loss.isfinite()):
            raise Failure(
                f"the loss of {name} is {float(loss)} at step {step}; the last checkpoint is "
                "intact; in another --out, try a lower --lr"
                + " or --precision fp32"
                * (run.precision != "fp32")
            )


def _save(
    method: Method, path: Path, step: int, fabric: Fabric, monitor: Monitor | None, keep: bool
) -> None:
    if monitor:
        saved_state.save(path, method.state, step)
        if keep:
            networks = {k: v for k, v in method.state.items() if isinstance(v, nn.Module)}
            saved_state.save(saved_state.kept_at(path.parent, step), networks, step)
        if monitor.is_best(step):
            saved_state.save(path.with_name("best.safetensors"), method.state, step)
    fabric.barrier()


@contextmanager
def _stopping() -> Generator[threading.Event]:
    """Set on the first SIGINT or SIGTERM, so that the step under way can end and be saved."""
    stop = threading.Event()
    previous = {s: signal.signal(s, lambda *_: stop.set()) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for s, handler in previous.items():
            signal.signal(s, handler)
