"""KServe's own clients against a real server, where KSERVE_PYTHON names a Python that has them.

python -m venv /tmp/kserve && /tmp/kserve/bin/pip install kserve
KSERVE_PYTHON=/tmp/kserve/bin/python pytest tests/serve/test_kserve_clients.py
"""

import io
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from serve.grpc.server import grpc_on

SCRIPT = Path(__file__).resolve().parents[1] / "kserve_asks.py"


@pytest.mark.skipif("KSERVE_PYTHON" not in os.environ, reason="KSERVE_PYTHON names no Python")
def test_both_clients(tiny, kit):
    images, ports, given = np.stack([kit.random_image(i) for i in range(2)]), [], io.BytesIO()
    np.save(given, images)
    with kit.running(tiny, beside=grpc_on("127.0.0.1", 0, ports.append)) as client:
        command = [os.environ["KSERVE_PYTHON"], str(SCRIPT)]
        command += [f"http://{client.address}", f"127.0.0.1:{ports[0]}"]
        done = subprocess.run(command, input=given.getvalue(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found = np.load(io.BytesIO(done.stdout))
    assert found["there"].all()
    for way in ("binary", "json", "grpc"):
        assert np.array_equal(found[way], kit.true_labels(images)), way
