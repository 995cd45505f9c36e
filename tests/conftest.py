"""Fixtures shared by all tests: the data beside the repository, when it is there."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = Path(__file__).resolve().parents[2] / "shared/data"
    if not folder.is_dir():
        pytest.skip("needs the sample images in ../shared/data, which are not here")
    return folder
