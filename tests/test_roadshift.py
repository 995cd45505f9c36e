"""The command line: help, mistakes, exit codes, and that it starts without torch."""

import subprocess
import sys
import types
from pathlib import Path

import pytest

import roadshift
from roadshift import Failure, UserError, replacing


def ended(arguments: list[str]) -> object:
    with pytest.raises(SystemExit) as end:
        roadshift.main(arguments)
    return end.value.code


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A command that a test fills in, called `segment` on the command line."""
    module = types.ModuleType("serve_stand_in")
    monkeypatch.setitem(sys.modules, "serve_stand_in", module)
    place = roadshift.COMMANDS["segment"]._replace(place="serve_stand_in:command")
    monkeypatch.setitem(roadshift.COMMANDS, "segment", place)
    return module


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (UserError("no such folder x; give one"), 2, "roadshift: no such folder x; give one\n"),
        (Failure("the disk is full"), 1, "roadshift: the disk is full\n"),
        (PermissionError(13, "denied"), 1, "PermissionError: [Errno 13] denied"),
        (ValueError("bad\nsecond line"), 1, "roadshift: ValueError: bad (--debug shows where)\n"),
        (KeyError("k"), 1, "KeyError: 'k'"),
    ],
)
def test_errors_are_one_sentence_and_a_code(
    command: types.ModuleType,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    code: int,
    sentence: str,
) -> None:
    def run() -> None:
        raise error

    command.command = run
    assert ended(["segment"]) == code
    said = capsys.readouterr().err
    assert sentence in said
    assert "Traceback" not in said
    with pytest.raises(type(error)):
        roadshift.main(["segment", "--debug"])


def test_a_missing_extra_is_named(
    command: types.ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    def run() -> None:
        raise ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime")

    command.command = run
    assert ended(["segment"]) == 1
    said = capsys.readouterr().err
    assert "No module named 'onnxruntime'; install what this command needs" in said
    assert "pip install 'roadshift[cpu]'" in said


def test_training_on_an_older_python_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    error = ModuleNotFoundError("No module named 'tomllib'")
    assert "tomllib" in roadshift._missing(error, ["adapt"])
    with monkeypatch.context() as patched:
        patched.setattr(sys, "version_info", (3, 10, 12))
        said = roadshift._missing(error, ["adapt"]), roadshift._missing(error, ["serve"])
    assert said[0].startswith("this command needs Python 3.11 or newer")
    assert "tomllib" in said[1]


def test_unknown_command_and_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(["segmnt"]) == 2
    assert "segment" in capsys.readouterr().err
    assert ended(["evaluate", "run", "--dta", "x"]) == 2
    assert "--data" in capsys.readouterr().err


def test_unknown_method_guesses(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(["adapt", "output_adversery"]) == 2
    assert 'Did you mean "output_adversary"?' in capsys.readouterr().err


def test_unknown_lists_and_guesses() -> None:
    text = str(roadshift.unknown("class", "rood", ["road", "car"]))
    assert text == "unknown class 'rood': did you mean 'road'? known: car, road"
    assert "did you mean" not in str(roadshift.unknown("class", "zzz", ["road"]))


def test_help_needs_no_torch() -> None:
    code = (
        "import sys, roadshift\n"
        "try: roadshift.main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert not {'torch', 'cv2', 'numpy'} & set(sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert "quickstart" in found.stdout


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    wanted = r"could not write .*report.json \(No space left on device\); nothing that was there"
    with pytest.raises(Failure, match=wanted), replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]


def test_a_place_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Failure, match="could not write"), replacing(tmp_path / "file/x.json"):
        pytest.fail("never reached")


def test_a_size_is_written_height_first() -> None:
    assert roadshift.hxw((512, 1024)) == "512x1024"
    with pytest.raises(ValueError, match="unpack"):
        roadshift.hxw((1, 512, 1024))
