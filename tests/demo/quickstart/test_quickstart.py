"""The quickstart with a stand-in for the commands, its pictures and its report."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demo.quickstart.before_after import before_after
from demo.quickstart.quickstart import quickstart, run_quickstart, steps_of
from demo.quickstart.report import read_scores
from roadshift import Failure, UserError

SCORES = {
    "home": {"miou": 81.0, "iou": {"building": 80.0, "vegetation": 82.0, "sky": None}},
    "before": {"miou": 40.06, "iou": {"building": 30.0, "vegetation": 50.12, "sky": None}},
    "after": {"miou": 52.52, "iou": {"building": 25.0, "vegetation": 80.04, "sky": None}},
}


class Commands:
    """Stands for `roadshift`: notes the commands and writes the files that they would write."""

    def __init__(self, make_bundle, fails: str = "") -> None:
        self.make_bundle, self.fails = make_bundle, fails
        self.seen: list[str] = []

    def __call__(self, command) -> int:
        verb, options = command[0], dict(itertools.pairwise(command))
        self.seen.append(verb)
        if verb == self.fails:
            return 1
        if verb == "adapt":
            Path(options["--out"]).mkdir(parents=True)
            (Path(options["--out"]) / "last.safetensors").touch()
        elif verb == "export":
            self.make_bundle(Path(options["--out"]))
        else:
            file = Path(options["--json"])
            scores = {"data": options["--data"], **SCORES[file.stem]}
            file.write_text(json.dumps(scores))
            write_strips(Path(options["--pictures"]), file.stem)
        return 0


def write_strips(folder: Path, name: str, count: int = 5) -> None:
    """Strips of three 8x16 panels: a frame's grey, a grey of its own, white."""
    folder.mkdir(parents=True)
    for i in range(count):
        greys = (10 * i, {"home": 1, "before": 100, "after": 200}.get(name, 0), 255)
        panels = [np.full((8, 16, 3), grey, np.uint8) for grey in greys]
        Image.fromarray(np.concatenate(panels, axis=1)).save(folder / f"{i:03d}.png")


@pytest.fixture
def ran(tmp_path: Path, make_bundle) -> tuple[Path, list[str], Commands]:
    said: list[str] = []
    commands = Commands(make_bundle)
    run_quickstart(tmp_path / "qs", 0, say=said.append, run=commands)
    return tmp_path / "qs", said, commands


def test_the_commands_are_those_a_person_types() -> None:
    lines = [" ".join(step.command) for step in steps_of(Path("qs"), 3)]
    common = (
        "--source toytown:game --target toytown:camera --network lraspp_mobilenet_v2 --weights none"
    )
    assert lines[0].startswith(f"adapt source_only {common} ")
    assert lines[1].startswith(f"adapt self_training {common} ")
    assert "--seed 3 --out qs/self_training" in lines[1]
    # Both networks are trained alike, but for what only the second does with the target.
    same = lines[0].replace("source_only", "self_training")
    assert (
        lines[1]
        == f"{same} --style statistics --style-share 1 --warm-up 200 --ema 0.9 --floor-things 0.7"
    )
    assert lines[2:] == [
        "evaluate qs/source_only --data toytown:game#val --json qs/home.json "
        "--pictures qs/pictures/home",
        "evaluate qs/source_only --data toytown:camera#val --json qs/before.json "
        "--pictures qs/pictures/before",
        "evaluate qs/self_training --data toytown:camera#val --json qs/after.json "
        "--pictures qs/pictures/after",
        "export qs/self_training --out qs/toytown_bundle --data toytown:camera#val",
        "export qs/source_only --out qs/toytown_source_only --data toytown:camera#val",
    ]


def test_the_road_is_walked_in_order_and_told(ran) -> None:
    out, said, commands = ran
    assert commands.seen == [
        "adapt",
        "adapt",
        "evaluate",
        "evaluate",
        "evaluate",
        "export",
        "export",
    ]
    assert said[0] == f"Everything is written under {out}"
    assert f"Report: {out / 'report.html'}" in said[-2]
    assert re.search(r"Done: \d+\.\d minutes of work", said[-2])
    both = f"{out / 'toytown_bundle'} {out / 'toytown_source_only'}"
    assert f"$ roadshift demo {both}" in said[-1]
    assert f"$ roadshift serve {out / 'toytown_bundle'}" in said[-1]


def test_a_second_run_runs_no_command(ran, make_bundle) -> None:
    out, _, _ = ran
    commands = Commands(make_bundle)
    run_quickstart(out, 0, say=lambda _: None, run=commands)
    assert commands.seen == []


def test_another_seed_wants_another_folder(ran, make_bundle) -> None:
    with pytest.raises(UserError, match=r"other settings.*--seed 0.*--seed 1"):
        run_quickstart(ran[0], 1, say=lambda _: None, run=Commands(make_bundle))


def test_a_failing_export_names_itself_and_how_to_go_on(tmp_path, make_bundle) -> None:
    out = tmp_path / "q s"
    with pytest.raises(Failure) as failure:
        run_quickstart(out, 5, say=lambda _: None, run=Commands(make_bundle, fails="export"))
    message = str(failure.value)
    assert "step 6 of 7 (export and verify)" in message
    assert f"roadshift quickstart --out '{out}' --seed 5" in message
    assert (out / "after.json").exists()


def test_the_command_itself_prints_and_stops(tmp_path, monkeypatch, capsys) -> None:
    def fails(command, check):
        assert command[1:4] == ["-m", "roadshift", "adapt"]
        return type("Ended", (), {"returncode": 9})

    monkeypatch.setattr("subprocess.run", fails)
    with pytest.raises(Failure, match="exit code 9"):
        quickstart(out=tmp_path / "qs")
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("  $ roadshift adapt source_only --source toytown:game")
    assert lines[2].endswith(f"--out {tmp_path / 'qs' / 'source_only'}"), "a command was wrapped"


def rows(report: Path) -> dict[str, list[str]]:
    """The report's table: class -> the cells beside it."""
    found = {}
    for line in re.findall(r"<tr.*?</tr>", report.read_text()):
        cells = [re.sub(r"<.*?>", "", cell) for cell in re.findall(r"<td.*?</td>", line)]
        found.setdefault(cells[0] if cells else "", cells[1:])
    return found


def test_the_report_has_before_and_after_per_class(ran) -> None:
    table = rows(ran[0] / "report.html")
    assert table["building"] == ["80.0", "30.0", "25.0", "-5.0"]
    assert table["vegetation"] == ["82.0", "50.1", "80.0", "+29.9"]
    assert table["sky"] == ["–", "–", "–", "–"]
    assert table["mean (mIoU)"] == ["81.0", "40.1", "52.5", "+12.5"]


def test_the_report_colours_gains_and_losses(ran) -> None:
    report = (ran[0] / "report.html").read_text()
    assert '<span class="bad">-5.0</span>' in report
    assert '<span class="good">+29.9</span>' in report


def test_the_report_stands_alone(ran) -> None:
    report = (ran[0] / "report.html").read_text()
    assert not re.search(r"https?:|//[a-z]|<script|<link|@import|url\(", report)
    sources = re.findall(r'src="([^"]*)"', report)
    assert len(sources) == 3
    assert all(source.startswith("data:image/png;base64,") for source in sources)


def test_the_report_tells_how_and_what_next(ran) -> None:
    out, _, _ = ran
    report = (out / "report.html").read_text()
    assert f"roadshift export {out}/self_training --out {out}/toytown_bundle" in report
    both = f"{out}/toytown_bundle {out}/toytown_source_only"
    assert f"<pre>roadshift demo {both}</pre>" in report
    assert "strongest_colour" in report


def test_three_pictures_join_both_predictions_of_spread_frames(ran) -> None:
    pictures = [np.asarray(Image.open(ran[0] / "pictures" / f"{i}.png")) for i in (1, 2, 3)]
    assert all(picture.shape == (8, 4 * 16 + 3 * 4, 3) for picture in pictures)
    assert [picture[0, [0, 20, 40, 60], 0].tolist() for picture in pictures] == [
        [0, 100, 200, 255], [20, 100, 200, 255], [40, 100, 200, 255],
    ]  # fmt: skip


def test_too_few_frames_are_counted(tmp_path) -> None:
    write_strips(tmp_path / "before", "before", 5)
    write_strips(tmp_path / "after", "after", 2)
    with pytest.raises(Failure, match="has 2 frames in both before/ and after/, and 3 are wanted"):
        before_after(tmp_path)


def test_different_frames_are_not_joined(tmp_path) -> None:
    for name in ("before", "after"):
        write_strips(tmp_path / name, name, 3)
    (tmp_path / "after" / "001.png").write_bytes((tmp_path / "after" / "002.png").read_bytes())
    with pytest.raises(Failure, match=r"001\.png shows different frames"):
        before_after(tmp_path)


@pytest.mark.parametrize("width", [0, 16])
def test_a_broken_strip_is_named(tmp_path, width: int) -> None:
    for name in ("before", "after"):
        write_strips(tmp_path / name, name, 3)
    strip = tmp_path / "after" / "000.png"
    strip.write_bytes(b"")
    if width:
        Image.fromarray(np.zeros((8, width, 3), np.uint8)).save(strip)
    with pytest.raises(Failure, match="16 pixels wide, not three" if width else "cannot be read"):
        before_after(tmp_path)


@pytest.mark.parametrize("content", [None, "", "[]", '{"miou": 3}', '{"data":"", "miou":"x"}'])
def test_broken_scores_are_named(tmp_path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "after.json").write_text(content)
    with pytest.raises(Failure, match=r"after\.json holds no scores that can be read"):
        read_scores(tmp_path / "after.json")
