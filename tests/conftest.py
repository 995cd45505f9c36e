"""Fixtures shared by all tests: a tiny drawn city, and the data beside the repository."""

import os
from pathlib import Path

# The workers share the cores: each of them, and what it starts, computes with one thread. Set
# before anything imports numpy or torch, which read it once.
os.environ |= {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}

import pytest
from tiny_city import write_tiny_city


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = Path(__file__).resolve().parents[2] / "shared/data"
    if not folder.is_dir():
        pytest.skip("needs the sample images in ../shared/data, which are not here")
    return folder


@pytest.fixture(scope="session")
def tiny_source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"folder:{write_tiny_city(tmp_path_factory.mktemp('tiny') / 'game', 8, 1.0)}"


@pytest.fixture(scope="session")
def tiny_target(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = write_tiny_city(tmp_path_factory.mktemp("tiny") / "camera", 8, 0.6, labels=False)
    return f"folder:{folder}"
