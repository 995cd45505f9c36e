"""Which names the page answers to; in a process of its own, which loads gradio."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
ASK = """
import sys
from pathlib import Path
from starlette.testclient import TestClient
from demo.page.api import Api, ShownModel
from demo.page.serve_page import page_app
from export.bundle import read_bundle
from serve.runtime.engine import Engine
bundle = read_bundle(Path(sys.argv[1]))
api = Api([ShownModel(Engine(bundle, threads=1), "x")])
for host, allowed in (("127.0.0.1", ()), ("0.0.0.0", ()), ("0.0.0.0", ("demo.example",))):
    client = TestClient(page_app(api, host, 7860, allowed))
    asked = ("localhost", "demo.example:7860", "other.example")
    print([client.get("/roadshift/about", headers={"Host": name}).status_code for name in asked])
    headers = {"Host": "localhost", "Origin": "http://evil.example"}
    print(client.post("/roadshift/segment", headers=headers).status_code)
"""


@pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="needs the extra 'demo'")
def test_names_are_those_of_this_machine_and_those_allowed(bundle) -> None:
    command = [sys.executable, "-c", ASK, str(bundle.folder)]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert shown.splitlines() == [
        *("[200, 400, 400]", "403"),
        *("[200, 200, 200]", "403"),
        *("[200, 200, 400]", "403"),
    ]
