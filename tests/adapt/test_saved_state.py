import dataclasses
import errno
import json
from pathlib import Path

import pytest
import torch
from torch.optim import AdamW

from adapt import checkpoint, saved_state
from adapt.checkpoint import RunInfo
from adapt.networks import build
from roadshift import Failure, UserError


def info(**changes: object) -> RunInfo:
    plain = RunInfo(
        method="source_only",
        network="lraspp_mobilenet_v2",
        classes=("road", "car"),
        palette=((1, 2, 3), (4, 5, 6)),
        source="toytown:game",
        target="toytown:camera",
        work_size=(64, 128),
        commit="",
        steps=3,
        seed=0,
        settings={"lr": 0.1},
        fingerprints={},
        versions={},
        parts={"segmentor": {"kind": "lraspp_mobilenet_v2", "classes": 2}},
    )
    return dataclasses.replace(plain, **changes)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    net = build("lraspp_mobilenet_v2", 2)
    checkpoint.write_info(tmp_path, info())
    saved_state.save(tmp_path / "last.safetensors", {"segmentor": net}, 3)
    return tmp_path


def test_read_gives_back_what_was_saved(run: Path) -> None:
    segmentor, found, _ = checkpoint.read(run)
    assert found == info()
    assert not segmentor.training
    other = build("lraspp_mobilenet_v2", 2)
    assert saved_state.load(run / "last.safetensors", {"segmentor": other}) == 3
    pairs = zip(segmentor.state_dict().values(), other.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_optimizer_state_survives(tmp_path: Path) -> None:
    p = torch.nn.Parameter(torch.ones(2, 3, 1, 1))
    optimizer = AdamW([{"params": [p], "lr": 0.1}])
    p.square().sum().backward()
    optimizer.step()
    saved_state.save(tmp_path / "x.safetensors", {"optimizer_G": optimizer}, 1)
    q = torch.nn.Parameter(p.detach().clone())
    other = AdamW([{"params": [q], "lr": 0.5}])
    saved_state.load(tmp_path / "x.safetensors", {"optimizer_G": other})
    for parameter, moves in ((p, optimizer), (q, other)):
        parameter.grad = torch.ones_like(parameter)
        moves.step()
    assert torch.equal(p, q)


def test_no_run_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a run folder: it has no run\.json"):
        checkpoint.read(tmp_path)


def test_nothing_saved_yet(tmp_path: Path) -> None:
    checkpoint.write_info(tmp_path, info())
    with pytest.raises(UserError, match=r"has no last\.safetensors: nothing was saved yet"):
        checkpoint.read(tmp_path)


def test_another_network(run: Path) -> None:
    other = {"segmentor": {"kind": "lraspp_mobilenet_v2", "classes": 3}}
    checkpoint.write_info(run, info(parts=other))
    with pytest.raises(UserError, match=r"of another network.*\(2, .* in the file, \(3, "):
        checkpoint.read(run)


def test_newer_format(run: Path) -> None:
    raw = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(raw | {"format": 99}))
    with pytest.raises(UserError, match="has format 99, this roadshift reads up to 3"):
        checkpoint.read(run)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}'])
def test_damaged_run_json(run: Path, content: str) -> None:
    (run / "run.json").write_text(content)
    with pytest.raises(UserError, match=r"run\.json is damaged"):
        checkpoint.read(run)


@pytest.mark.parametrize("size", [0, 100, 100_000])
def test_truncated_checkpoint(run: Path, size: int) -> None:
    path = run / "last.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(UserError, match="is damaged or not a roadshift checkpoint"):
        checkpoint.read(run)


def test_a_full_disk_leaves_the_saved_one_whole(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = (run / "last.safetensors").read_bytes()
    monkeypatch.setattr("os.fsync", full)
    net = build("lraspp_mobilenet_v2", 2)
    with pytest.raises(Failure, match=r"No space left.*nothing that was there is lost"):
        saved_state.save(run / "last.safetensors", {"segmentor": net}, 4)
    assert (run / "last.safetensors").read_bytes() == before
    assert not list(run.glob(".*"))
