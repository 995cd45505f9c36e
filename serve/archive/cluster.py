"""Shards as tasks of a Ray cluster: what a worker was at that dies is left, for another one.

All machines see the archive, the bundle and OUT at the same places, and have roadshift installed.
"""

from __future__ import annotations

import functools
import importlib
import os
import socket
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from export.bundle.graphs import Precision
from roadshift import Failure, UserError
from serve.archive.label import Archive, Round
from serve.archive.shard import Labeller, Shard

# Ray reports its use to its makers unless told not to before it is imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
ray: Any = importlib.import_module("ray")

LOCAL = "local"
_STORE_BYTES = 80 << 20
"""Of shared memory, for a Ray that is started here: what is passed are names."""
_AHEAD = 2
"""Tasks that are handed over for each core: one runs, one waits."""
_ANSWER_SECONDS = 10.0
_SEEN_SECONDS = 10.0
"""So long a file that another machine wrote may be unseen here."""


@contextmanager
def cluster(address: str, workers: int = 0) -> Generator[Round]:
    """What labels shards on the Ray cluster at that address ("local": one that is started here).

    `workers` bounds how many shards are under way; 0: as many as there are cores. Raises Failure
    when there is no such cluster.
    """
    here = {"num_cpus": workers or None, "include_dashboard": False}
    options = {**here, "object_store_memory": _STORE_BYTES} if address == LOCAL else {}
    try:
        _require_there(address)
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **options)
    except Exception as error:  # of many kinds: no address, nobody there, another version of Ray
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        raise Failure(f"no Ray cluster could be reached at --ray {address} ({why})") from error
    try:
        yield functools.partial(_round, workers)
    finally:
        ray.shutdown()


def _require_there(address: str) -> None:
    """Raises OSError where nobody listens: Ray itself waits for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS).close()


def _round(
    workers: int, archive: Archive, left: Sequence[Shard], left_over: Callable[[int], None]
) -> None:
    """Labels what is left; a shard whose worker dies stays left, the others go on."""
    # Whether it is tried again is label's business, which knows what is there.
    task = ray.remote(num_cpus=1, max_retries=0)(label_shard)
    bundle = archive.bundle
    how = archive.precision, archive.monitor
    opened = (bundle.folder.resolve(), bundle.digest, archive.out.resolve(), *how)
    most = workers or _AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
    waiting: dict[Any, Shard] = {}
    coming, done = iter(left), 0
    while True:
        while len(waiting) < most and (shard := next(coming, None)) is not None:
            waiting[task.remote(Shard(shard.root.resolve(), shard.names), *opened)] = shard
        if not waiting:
            return
        finished, _ = ray.wait([*waiting])
        if _is_done(finished[0]):
            _require_seen(waiting[finished[0]].table(archive.out))
        del waiting[finished[0]]
        done += 1
        left_over(len(left) - done)


def _is_done(reference: Any) -> bool:
    """False where the worker died; what the task itself raised is raised."""
    try:
        ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError | Failure):
            raise error.cause from error
        raise Failure(
            f"a machine of the cluster could not label its frames ({error.cause!r}): does it see "
            "the archive, the bundle and --out at the places that they have here?"
        ) from error
    except ray.exceptions.RayError:
        return False
    return True


def _require_seen(table: Path) -> None:
    latest = time.monotonic() + _SEEN_SECONDS
    while not table.is_file():
        if time.monotonic() > latest:
            raise Failure(
                f"a machine of the cluster has labelled frames, and {table} is not there: --out "
                "must be a folder that all machines share"
            )
        time.sleep(0.1)


def label_shard(
    shard: Shard, bundle: Path, digest: str, out: Path, precision: Precision, monitor: bool
) -> None:
    """The task: labels the shard's frames. UserError for another bundle than `digest` says."""
    _labeller(bundle, digest, out, precision, monitor).label(shard)


@functools.lru_cache(maxsize=1)
def _labeller(
    bundle: Path, digest: str, out: Path, precision: Precision, monitor: bool
) -> Labeller:
    """Opened once in a worker's process."""
    return Labeller(bundle, digest, out, precision, monitor)
