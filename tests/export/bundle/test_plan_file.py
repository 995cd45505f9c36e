import json
from dataclasses import replace

import pytest
from tiny_plan import SIZE, make_bundle

from export.bundle.plan_file import (
    Device,
    Sidecar,
    check_fits,
    manifest_hash,
    page_of,
    read_plan,
    sha256,
    write_plan,
)
from roadshift import Failure, UserError

CONTENT = b"machine code"
ORIN = Device("Orin", (8, 7), "12.6", "12.6")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle") / "b")


@pytest.fixture
def page(bundle):
    return Sidecar(
        bundle="tiny",
        manifest_sha256=manifest_hash(bundle),
        graph="segmentor",
        precision="fp16",
        output="labels",
        size=SIZE,
        batch=1,
        onnx="segmentor.fp16.onnx",
        onnx_sha256=bundle.files["segmentor.fp16.onnx"],
        plan_sha256=sha256(CONTENT),
        gpu="Orin",
        compute=(8, 7),
        driver="12.6",
        cuda="12.6",
        tensorrt="10.3.0",
        version_compatible=False,
        hardware_compatible=False,
        options={"tf32": False},
        golden={"worst": 1.0},
        latency={"p50_ms": 3.5},
    )


@pytest.fixture
def plan(tmp_path, page):
    path = tmp_path / "a.plan"
    write_plan(path, CONTENT, page)
    return path


def rewritten(plan, **changes):
    values = json.loads(page_of(plan).read_text()) | changes
    page_of(plan).write_text(json.dumps(values))


def test_there_and_back(plan, page):
    assert read_plan(plan) == (CONTENT, page)
    assert sorted(path.name for path in plan.parent.iterdir()) == ["a.plan", "a.plan.json"]


def test_a_plan_is_raw(plan):
    assert plan.read_bytes() == CONTENT


def test_a_failed_write_leaves_what_was_there(plan, page):
    worse = replace(page, options={"tf32": object()})
    with pytest.raises(TypeError):
        write_plan(plan, b"other", worse)
    missing = plan.parent / "a.plan/b.plan"
    with pytest.raises(Failure, match=r"could not write .*b\.plan"):
        write_plan(missing, b"other", page)
    assert read_plan(plan) == (CONTENT, page)


@pytest.mark.parametrize("name", ["a.plan", "a.plan.json"])
def test_a_missing_file(plan, name):
    (plan.parent / name).unlink()
    with pytest.raises(UserError, match=rf"{name} does not exist: wanted a plan and its \.json"):
        read_plan(plan)


def test_a_changed_plan(plan):
    plan.write_bytes(b"machine c0de")
    with pytest.raises(UserError, match=r"is not the plan that a\.plan\.json speaks of \(sha256 "):
        read_plan(plan)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "is damaged"),
        ("[]", "no format number"),
        ("{}", "no format number"),
        ('{"format": 2}', "has format 2 and .* reads format 1: install a newer one"),
        ('{"format": 0}', "has format 0 and .*: build the plan again"),
        ('{"format": 1, "gpu": "x"}', "lacks or does not know: batch, bundle,"),
    ],
)
def test_a_page_that_is_none(plan, text, match):
    page_of(plan).write_text(text)
    with pytest.raises(UserError, match=match):
        read_plan(plan)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gpu", 3),
        ("batch", 0),
        ("batch", True),
        ("version_compatible", "yes"),
        ("golden", []),
        ("size", [1]),
        ("compute", [8, -1]),
        ("compute", "87"),
    ],
)
def test_a_wrong_value(plan, name, value):
    rewritten(plan, **{name: value})
    with pytest.raises(UserError, match=f"has a wrong '{name}': "):
        read_plan(plan)


def test_an_unknown_value(plan):
    rewritten(plan, colour="red")
    with pytest.raises(UserError, match="lacks or does not know: colour;"):
        read_plan(plan)


def test_it_fits(page, bundle):
    check_fits(page, bundle, ORIN, "10.3.0")


def test_another_bundle(page, bundle, tmp_path):
    other = make_bundle(tmp_path / "other", bias=1.0)
    with pytest.raises(UserError, match=r"built of another bundle \(tiny\) than .*other"):
        check_fits(page, other, ORIN, "10.3.0")


@pytest.mark.parametrize(
    ("compute", "compatible", "fits"),
    [
        ((8, 9), False, False),
        ((8, 6), False, False),
        ((8, 0), True, True),
        ((12, 0), True, True),
        ((7, 5), True, False),
    ],
)
def test_another_gpu(page, bundle, compute, compatible, fits):
    page = replace(page, hardware_compatible=compatible)
    device = ORIN._replace(name="Other", compute=compute)
    if fits:
        check_fits(page, bundle, device, "10.3.0")
        return
    numbers = "{}.{}".format(*compute)
    with pytest.raises(UserError, match=rf"on Orin \(compute .* 8\.7\) .* Other \({numbers}\)"):
        check_fits(page, bundle, device, "10.3.0")


@pytest.mark.parametrize(
    ("version", "compatible", "fits"),
    [
        ("10.3.1", False, False),
        ("11.0.0", False, False),
        ("11.0.0", True, True),
        ("10.13.3.9", True, True),
        ("10.2.9", True, False),
    ],
)
def test_another_tensorrt(page, bundle, version, compatible, fits):
    page = replace(page, version_compatible=compatible)
    if fits:
        check_fits(page, bundle, ORIN, version)
        return
    with pytest.raises(UserError, match=rf"built with TensorRT 10\.3\.0 and this is {version};"):
        check_fits(page, bundle, ORIN, version)
