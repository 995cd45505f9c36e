"""An archive labelled on a Ray cluster of this machine: real raylets and workers."""

from __future__ import annotations

import csv
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_graphs import true_labels

from export.bundle import Bundle
from roadshift import Failure, UserError
from serve.archive.shard import Shard

ROOT = Path(__file__).resolve().parents[3]
COUNT = 40
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray (extra fleet)"),
]


def picture(i: int) -> np.ndarray:
    """Large enough that the first is done long before the last."""
    image = np.zeros((800, 1200, 3), np.uint8)
    image[:, : 20 * (i + 1)] = (10 * i % 256, 90, 200)
    return image


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    for i in range(COUNT):
        path = folder / f"drive{i % 2}" / f"{i:03}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), picture(i)[..., ::-1])
    return folder


def labelling(archive: Path, bundle: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    """The command; its Ray asks for no key, so that none is put into the home folder."""
    names = [str(archive), "--bundle", str(bundle), "--out", str(out), "--shard", "1"]
    return subprocess.Popen(
        [sys.executable, "-m", "roadshift", "label", *names, *more],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "frames.csv").open() as file:
        return list(csv.DictReader(file))


def parents() -> Iterator[tuple[int, int, str]]:
    """Of each process its number, its parent's, and what it is called."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            yield int(folder.name), parent, (folder / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue


def workers(of: int) -> list[int]:
    """The processes below `of` that label a shard now."""
    found = {pid: (parent, name) for pid, parent, name in parents()}

    def below(pid: int) -> bool:
        while pid in found and pid != of:
            pid = found[pid][0]
        return pid == of

    return [pid for pid, (_, name) in found.items() if "ray::label_shard" in name and below(pid)]


def test_a_worker_that_is_killed_loses_nothing(tiny: Bundle, archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    killed: list[int] = []
    left = 0
    with labelling(archive, tiny.folder, out, "--ray", "local", "--workers", "2") as process:
        try:
            while process.poll() is None and not killed:
                done = len(list((out / "shards").glob("*.csv")))
                if done and (busy := workers(process.pid)):
                    os.kill(busy[0], signal.SIGKILL)
                    killed, left = busy[:1], COUNT - done
                time.sleep(0.01)
            said, errors = process.communicate(timeout=300)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    assert killed
    assert left > 0
    assert f"{COUNT} frames labelled" in said
    names = [row["file"] for row in rows(out)]
    assert len(names) == len(set(names)) == COUNT
    assert not any(row["error"] for row in rows(out))
    tables = list((out / "shards").glob("[!.]*.csv"))
    assert len(tables) == COUNT  # a shard twice would have two tables, or rows
    labels = cv2.imread(str(out / "labels/drive1/031.png.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(labels, true_labels(picture(31)))


def test_no_cluster_there(tiny: Bundle, archive: Path, tmp_path: Path) -> None:
    with labelling(archive, tiny.folder, tmp_path / "o", "--ray", "127.0.0.1:1") as process:
        try:
            _, errors = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 1
    assert "no Ray cluster could be reached at --ray 127.0.0.1:1 (" in errors
    assert "Traceback" not in errors


def test_another_bundle_on_a_machine_of_the_cluster(
    tiny: Bundle, archive: Path, tmp_path: Path
) -> None:
    from serve.archive.cluster import label_shard  # noqa: PLC0415 - imports ray

    shard = Shard(archive, ("drive0/000.png",))
    with pytest.raises(UserError, match=r"it is another bundle, or was changed; copy"):
        label_shard(shard, tiny.folder, "0" * 64, tmp_path, "fp32", False)
    assert not (tmp_path / "labels").exists()
    label_shard(shard, tiny.folder, tiny.digest, tmp_path, "fp32", False)
    assert shard.table(tmp_path).is_file()


def test_an_out_that_only_one_machine_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from serve.archive import cluster  # noqa: PLC0415

    monkeypatch.setattr(cluster, "_SEEN_SECONDS", 0.2)
    with pytest.raises(Failure, match="must be a folder that all machines share"):
        cluster._require_seen(tmp_path / "shards" / "a.csv")
