"""The demo command."""

from pathlib import Path

import pytest

from demo.cli import demo
from roadshift import UserError


def test_the_command_refuses_what_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a bundle"):
        demo(tmp_path)
