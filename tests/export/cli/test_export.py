from __future__ import annotations

import pytest

from export.bundle import read_bundle
from export.cli import export as cli
from roadshift import UserError


@pytest.fixture
def run(tiny, tmp_path, monkeypatch):
    """A run folder, as far as `export` sees it."""
    asked: list[tuple] = []

    def read(*args):
        asked.append(args)
        return tiny.saved(tiny.Centres())

    monkeypatch.setattr(cli, "read", read)
    return tmp_path / "run", asked


def test_a_run_becomes_a_bundle(run, tmp_path, capsys) -> None:
    folder, asked = run
    cli.export(folder, out=tmp_path / "b", size="64x128", data="toytown:camera#val", count=1)
    bundle = read_bundle(tmp_path / "b")
    assert asked == [(folder, "last")]
    assert (bundle.size, bundle.checks["precisions"]["fp32"]["frames"]) == (
        (64, 128),
        "toytown:camera#val",
    )
    shown = capsys.readouterr().out
    assert "64x128" in shown
    assert "+0.000" in shown
    assert f"bundle written: {tmp_path / 'b'}" in shown


@pytest.mark.parametrize(
    ("flags", "spec", "labelled"),
    [
        ({}, "toytown:camera", False),
        ({"frames": "toytown:game", "size": "dynamic"}, "toytown:game", False),
        ({"data": "toytown:camera#val"}, "toytown:camera#val", True),
    ],
)
def test_what_is_compared_on(run, tmp_path, monkeypatch, flags, spec, labelled) -> None:
    class StopHereError(Exception):
        """Enough was seen."""

    def make(saved, frames, out, *, size, lowering, say):
        assert (frames.spec, frames.labelled, frames.count) == (spec, labelled, 2)
        assert (size, lowering) == (None, None)
        raise StopHereError

    monkeypatch.setattr(cli, "make_bundle", make)
    with pytest.raises(StopHereError):
        cli.export(run[0], out=tmp_path / "b", count=2, which="best", **flags)
    assert run[1] == [(run[0], "best")]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"size": "64"}, "--size '64' is not a size"),
        ({"frames": "toytown:game", "data": "toytown:game"}, "--frames and --data both say"),
        ({"count": 0}, "--count is 0"),
        ({"frames": "toytwon:game"}, "toytwon"),
    ],
)
def test_mistakes_on_the_command_line(run, tmp_path, flags, message) -> None:
    with pytest.raises(UserError, match=message):
        cli.export(run[0], out=tmp_path / "b", **flags)
    assert not (tmp_path / "b").exists()


def test_a_folder_that_is_no_run(tmp_path) -> None:
    with pytest.raises(UserError, match=r"run\.json"):
        cli.export(tmp_path, out=tmp_path / "b")
