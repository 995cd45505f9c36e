"""Commands that meet on disk."""

import json
from pathlib import Path

import pytest

from demo.quickstart.steps import Step, run_command, run_steps, shown
from roadshift import Failure, UserError


@pytest.fixture
def steps(tmp_path: Path) -> list[Step]:
    return [Step(f"make {n}", ("make", n, "a b"), tmp_path / "out" / n) for n in ("x", "y", "z")]


class Maker:
    """Runs commands by writing their results; the one named `fails` ends with exit code 3."""

    def __init__(self, folder: Path, fails: str = "", forgets: str = "") -> None:
        self.folder, self.fails, self.forgets = folder, fails, forgets
        self.made: list[str] = []

    def __call__(self, command) -> int:
        if command[1] == self.fails:
            return 3
        self.made.append(command[1])
        if command[1] != self.forgets:
            (self.folder / "out" / command[1]).write_text("")
        return 0


def go(steps, folder: Path, run, said=None) -> dict:
    say = (said if said is not None else []).append
    return run_steps(steps, folder / "out", again="roadshift again", say=say, run=run)


def test_every_step_is_said_and_run_in_order(steps, tmp_path) -> None:
    maker, said = Maker(tmp_path), []
    done = go(steps, tmp_path, maker, said)
    assert maker.made == ["x", "y", "z"]
    assert said[1] == "[2/3] make y\n  $ roadshift make y 'a b'"
    assert list(done) == ["make x", "make y", "make z"]
    assert all(step.seconds >= 0 for step in done.values())


def test_a_second_run_runs_nothing_and_keeps_the_times(steps, tmp_path) -> None:
    first = go(steps, tmp_path, Maker(tmp_path))
    maker, said = Maker(tmp_path), []
    assert go(steps, tmp_path, maker, said) == first
    assert not maker.made
    assert said[0] == "[1/3] make x: done before"


def test_a_deleted_result_is_made_again(steps, tmp_path) -> None:
    go(steps, tmp_path, Maker(tmp_path))
    steps[1].result.unlink()
    maker = Maker(tmp_path)
    go(steps, tmp_path, maker)
    assert maker.made == ["y"]


def test_a_failure_names_step_and_command_and_the_next_run_goes_on(steps, tmp_path) -> None:
    with pytest.raises(Failure) as failure:
        go(steps, tmp_path, Maker(tmp_path, fails="y"))
    for part in ("step 2 of 3 (make y)", "exit code 3", "roadshift make y 'a b'", "again",
                 f"kept in {tmp_path / 'out'}"):  # fmt: skip
        assert part in str(failure.value)
    maker = Maker(tmp_path)
    go(steps, tmp_path, maker)
    assert maker.made == ["y", "z"]


def test_an_unfinished_result_does_not_count_as_done(steps, tmp_path) -> None:
    """A killed training leaves its checkpoint: only a step that ended well is skipped."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "steps.json").write_text("{}")
    steps[0].result.write_text("half")
    maker = Maker(tmp_path)
    go(steps, tmp_path, maker)
    assert maker.made == ["x", "y", "z"]


def test_a_step_without_its_result_is_a_failure(steps, tmp_path) -> None:
    with pytest.raises(Failure, match=r"step 3 of 3 \(make z\) ended with no .*/z;"):
        go(steps, tmp_path, Maker(tmp_path, forgets="z"))


def test_other_settings_want_another_folder(steps, tmp_path) -> None:
    go(steps, tmp_path, Maker(tmp_path))
    steps[1] = steps[1]._replace(command=("make", "y", "--seed", "7"))
    with pytest.raises(UserError, match=r"other settings \(roadshift make y 'a b'; now: .*seed 7"):
        go(steps, tmp_path, Maker(tmp_path))


def test_a_folder_of_something_else_is_left_alone(steps, tmp_path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    maker = Maker(tmp_path)
    with pytest.raises(UserError, match="is not empty and was not made by quickstart"):
        go(steps, tmp_path, maker)
    assert not maker.made


def test_a_file_is_not_a_folder(steps, tmp_path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(UserError, match="is a file, and a folder is wanted"):
        go(steps, tmp_path, Maker(tmp_path))


@pytest.mark.parametrize("content", ["", "[]", '{"make x": {"command": ["a"]}}', '{"make x": 3}'])
def test_a_damaged_record_is_named(steps, tmp_path, content: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "steps.json").write_text(content)
    with pytest.raises(UserError, match=r"steps\.json is damaged"):
        go(steps, tmp_path, Maker(tmp_path))


def test_the_record_is_readable(steps, tmp_path) -> None:
    go(steps, tmp_path, Maker(tmp_path))
    record = json.loads((tmp_path / "out" / "steps.json").read_text())
    assert record["make y"]["command"] == ["make", "y", "a b"]


def test_commands_are_run_by_this_python(monkeypatch, tmp_path, capfd) -> None:
    (tmp_path / "roadshift.py").write_text("import sys; print(sys.argv[1:]); sys.exit(5)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    assert run_command(["make", "a b"]) == 5
    assert capfd.readouterr().out == "['make', 'a b']\n"
    assert shown(["make", "a b"]) == "roadshift make 'a b'"
