"""The files of serve/deployment, and the server's page: what they name exists."""

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from roadshift import COMMANDS
from serve.cli.serve import app

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "serve/deployment"
UNIT = (FOLDER / "roadshift.service").read_text()
DOCKERFILE = (FOLDER / "Dockerfile").read_text()
PAGE = (ROOT / "docs/server.md").read_text()
OPTIONS = tomllib.loads((FOLDER / "serve.toml").read_text())


def json_lines(instruction):
    return [json.loads(line) for line in re.findall(rf"^\s*{instruction} (\[.*)", DOCKERFILE, re.M)]


def commands():
    """Every `roadshift serve` in the files, as its words."""
    [started] = re.findall(r"^ExecStart=(.*)", UNIT, re.M)
    yield shlex.split(started)
    [entry] = json_lines("ENTRYPOINT")
    arguments = [words for words in json_lines("CMD") if words[0] != "python"]
    assert len(arguments) == 2
    yield from ([*entry, *words] for words in arguments)
    lines = re.findall(r"(?:^|`)(roadshift serve [^#`\n]*)", PAGE, re.M)
    assert len(lines) >= 4
    yield from (shlex.split(line) for line in lines)


@pytest.mark.parametrize("words", [*commands()], ids=" ".join)
def test_its_options_exist(words, tmp_path):
    assert Path(words[0]).name == "roadshift"
    assert words[1] in COMMANDS
    file = tmp_path / "serve.toml"
    file.write_text((FOLDER / "serve.toml").read_text())
    known = {name for argument in app.assemble_argument_collection() for name in argument.names}
    assert "--api-key-file" in known
    assert {word for word in words if word.startswith("--")} <= known
    words = [str(file) if word.endswith(".toml") else word for word in words[2:]]
    app.parse_args(words, exit_on_error=False, print_error=False)


def test_the_page_s_file_of_options(tmp_path):
    [text] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "serve.toml").write_text(text)
    _, bound, _ = app.parse_args(["--config", str(tmp_path / "serve.toml")], exit_on_error=False)
    assert len(bound.arguments["bundles"]) == 2


def test_what_is_asked_for_health(client):
    [check] = [words for words in json_lines("CMD") if words[0] == "python"]
    [(port, path)] = re.findall(r"http://127\.0\.0\.1:(\d+)(/[^']+)", check[2])
    compile(check[2], "HEALTHCHECK", "exec")
    assert client.get(path).status_code == 200
    [entry] = json_lines("ENTRYPOINT")
    assert entry[entry.index("--port") + 1] == port
    exposed = set(re.search(r"^EXPOSE (.*)", DOCKERFILE, re.M)[1].split())
    assert exposed == {port, entry[entry.index("--grpc-port") + 1]}


def test_the_unit_waits_for_the_grace_period():
    assert int(re.search(r"^TimeoutStopSec=(\d+)", UNIT, re.M)[1]) > OPTIONS["grace-seconds"]


def test_extras_and_files_that_are_installed_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = ",".join(re.findall(r"'\.\[(.*?)\]'", DOCKERFILE)).split(",")
    assert {"cpu", "grpc", "trace"} == set(named) <= project["optional-dependencies"].keys()
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.M)
    names = [name for line in copied for name in line.split()]
    assert {"requirements.txt", "serve"} <= set(names)
    let_in = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    for name in names:
        assert (ROOT / name).exists(), name
        assert f"!{name}" in let_in
    pinned = (ROOT / "requirements.txt").read_text()
    assert re.search(r"^onnxruntime==", pinned, re.M)
