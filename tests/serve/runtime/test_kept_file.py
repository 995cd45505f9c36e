"""Files that are needed again after their names are gone."""

import gc
import hashlib
import os

import pytest

from roadshift import Failure
from serve.runtime.kept_file import KeptFile


def test_a_kept_file(tmp_path):
    path = tmp_path / "graph.onnx"
    path.write_bytes(b"graph")
    kept = KeptFile(path, hashlib.sha256(b"graph").hexdigest())
    (tmp_path / "new").write_bytes(b"other")
    (tmp_path / "new").replace(path)
    assert kept.read() == kept.read() == b"graph"
    path.unlink()
    assert kept.read() == b"graph"


def test_a_file_that_was_written_into(tmp_path):
    path = tmp_path / "graph.onnx"
    path.write_bytes(b"graph")
    kept = KeptFile(path, hashlib.sha256(b"graph").hexdigest())
    with path.open("r+b") as file:
        file.write(b"G")
    with pytest.raises(Failure, match=r"graph\.onnx of .* was changed after it was checked"):
        kept.read()


def test_a_file_that_is_gone(tmp_path):
    with pytest.raises(Failure, match=r"could not open nothing of .*: No such file"):
        KeptFile(tmp_path / "nothing", "")


def test_it_is_closed_with_its_owner(tmp_path):
    path = tmp_path / "graph.onnx"
    path.write_bytes(b"graph")
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208
    kept = KeptFile(path, "")
    assert set(os.listdir("/proc/self/fd")) - before  # noqa: PTH208
    del kept
    gc.collect()
    assert set(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208
