"""The demo command."""

from dataclasses import replace
from pathlib import Path

import pytest

from demo.cli import demo, titles
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
