import sys

import pytest
from rich.progress import Progress
from tiny_plan import SIZE, machine, make_bundle

from export.bundle.plan_file import read_plan
from export.cli import engine as cli_engine
from export.cli.engine import engine
from roadshift import Failure, UserError


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle") / "city")


@pytest.fixture
def device():
    with machine() as found:
        yield found


def test_a_plan_beside_the_bundle(bundle, device, capsys):
    engine(bundle.folder, size="16X24")
    path = bundle.folder.parent / "city.engines/tiny.segmentor.fp32.16x24.sm87.trt10.3.0.plan"
    out = capsys.readouterr().out
    assert "1 golden frame(s) against torch: 100.0000% of the labels equal" in out
    assert " ms on Drawn GPU (p99 " in out and "copies included, one CUDA graph)" in out
    assert out.endswith(f"Verified on this device; plan written: {path}\n")
    assert read_plan(path)[1].size == SIZE


def test_all_options(bundle, device, tmp_path, capsys):
    engine(
        bundle.folder,
        size="16x24",
        precision="fp16",
        batch=2,
        logits=True,
        out=tmp_path,
        version_compatible=True,
        hardware_compatible=True,
        optimization_level=1,
        workspace=64,
    )
    name = "tiny.segmentor.fp16.logits.16x24.b2.sm87.trt10.3.0.plan"
    page = read_plan(tmp_path / name)[1]
    assert (page.output, page.batch, page.precision) == ("logits", 2, "fp16")
    assert page.version_compatible and page.hardware_compatible
    assert (page.options["optimization_level"], page.options["workspace_mib"]) == (1, 64)
    assert name in capsys.readouterr().out


def test_a_reconstructor(bundle, device, tmp_path, capsys):
    device.trt._faults["capture"] = "yes"
    engine(bundle.folder, size="16x24", graph="reconstructor", out=tmp_path)
    out = capsys.readouterr().out
    assert "against torch: equal" in out
    assert "no CUDA graph" in out


@pytest.mark.parametrize("size", ["16", "16x", "0x24", "ax24", "16x24x3", "-1x24", ""])
def test_what_is_no_size(bundle, size):
    with pytest.raises(UserError, match=r"is not a size; write HEIGHTxWIDTH"):
        engine(bundle.folder, size=size)


def test_no_size(bundle):
    with pytest.raises(UserError, match="give the camera's with --size"):
        engine(bundle.folder)


def test_no_bundle(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        engine(tmp_path / "none", size="16x24")


def test_no_tensorrt(bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(Failure, match="TensorRT is not installed"):
        engine(bundle.folder, size="16x24")


def test_phases_come_and_go():
    with Progress(disable=True) as bar:
        show = cli_engine._Phases(bar)
        show("outer", 0, 2)
        show("inner", 0, 1)
        assert [task.description for task in bar.tasks] == ["outer", "inner"]
        show("inner", 1, 1)
        show("outer", 1, 2)
        assert [(task.description, task.completed) for task in bar.tasks] == [("outer", 1)]
        show("outer", 2, 2)
        assert bar.tasks == []
