"""The demo command."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from demo.cli import ServerOptions, demo, titles
from roadshift import UserError


def test_the_command_refuses_what_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a bundle"):
        demo(tmp_path)


def test_two_bundles_must_name_the_same_classes(bundle, tmp_path, monkeypatch) -> None:
    opened = [bundle, replace(bundle, classes=("road", *bundle.classes[1:]))]
    monkeypatch.setattr("demo.cli.read_bundle", lambda *_: opened.pop(0))
    with pytest.raises(UserError, match=r"do not name the same classes.*building, road"):
        demo(tmp_path, tmp_path)


def test_bundles_are_called_by_what_tells_them_apart(bundle) -> None:
    other = replace(bundle, provenance={"method": "source_only"})
    assert titles([bundle]) == ["strongest_colour"]
    assert titles([bundle, replace(bundle, name="b")]) == ["tiny-city", "b"]
    assert titles([bundle, other]) == ["strongest_colour", "source_only"]
    assert titles([bundle, bundle]) == ["tiny-city 1", "tiny-city 2"]


@pytest.mark.parametrize(
    ("options", "more", "words"),
    [
        ({"model": ("a",)}, {}, "go with --server"),
        ({"server_key_file": Path("keys")}, {}, "go with --server"),
        ({"server": "localhost:8000"}, {}, "wanted http://HOST:PORT"),
        ({"server": "http://127.0.0.1:9", "model": ("a", "b")}, {}, "2 models for 1 bundle"),
        ({"server": "http://127.0.0.1:9"}, {"precision": "int8"}, "for the server to say"),
        ({"server": "http://127.0.0.1:9"}, {}, "does not answer"),
    ],
)
def test_a_server_that_cannot_be_shown_is_told(bundle, monkeypatch, options, more, words) -> None:
    pytest.importorskip("gradio")
    monkeypatch.setattr("os.environ", dict(os.environ))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(UserError, match=words):
        demo(bundle.folder, port=0, remote=ServerOptions(**options), **more)
