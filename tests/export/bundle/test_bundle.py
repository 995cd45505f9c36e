from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from export.bundle import (
    RECONSTRUCTOR,
    TRANSLATOR,
    Bundle,
    Golden,
    Trust,
    check_destination,
    read_bundle,
    write_bundle,
)
from roadshift import Failure, UserError

GOLDEN = [
    Golden(np.full((4, 6, 3), 10 * i, np.uint8), np.full((4, 6), i, np.uint8)) for i in range(3)
]


def manifest(folder: Path, **other) -> Bundle:
    values = {
        "folder": folder,
        "name": "street",
        "classes": ("road", "sky"),
        "palette": ((128, 64, 128), (70, 130, 180)),
        "size": None,
        "min_size": (33, 33),
        "precisions": ("fp32",),
        "align_corners": False,
        "route": "exact",
        "opset": 18,
        "provenance": {"method": "source_only", "work_size": [128, 256]},
        "scores": {"toytown:camera": {"miou": 51.5}},
        "checks": {"precisions": {"fp32": {"min_agreement": 0.999}}},
        "files": {},
    }
    return Bundle(**{**values, **other})


def write(folder: Path, content: bytes = b"graph", **other) -> Bundle:
    contents = {"segmentor.onnx": content, "report.md": b"# street\n"}
    return write_bundle(manifest(folder, **other), contents, GOLDEN)


def write_golden(folder: Path, *golden: Golden) -> Bundle:
    return write_bundle(manifest(folder), {"segmentor.onnx": b"graph"}, golden)


def rewrite(folder: Path, **changes) -> None:
    """Changes the manifest the way someone does who also puts the hash right."""
    path = folder / "bundle.json"
    values = {**json.loads(path.read_text()), **changes}
    del values["sha256"]
    values["sha256"] = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(values))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "bundle")
    return tmp_path / "bundle"


def test_what_was_written_is_read(tmp_path: Path) -> None:
    written = write(tmp_path / "deep/bundle", size=(64, 128), min_size=(64, 128))
    read = read_bundle(tmp_path / "deep/bundle")
    assert read == written
    assert (read.size, read.classes, read.palette[1]) == (
        (64, 128),
        ("road", "sky"),
        (70, 130, 180),
    )
    assert read.path("segmentor.onnx").read_bytes() == b"graph"
    for found, wanted in zip(read.golden(), GOLDEN, strict=True):
        assert np.array_equal(found.image, wanted.image)
        assert np.array_equal(found.labels, wanted.labels)


def test_golden_colours_and_order_survive(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    many = [
        Golden(rng.integers(0, 256, (5, 7, 3), np.uint8), rng.integers(0, 256, (5, 7), np.uint8))
        for _ in range(11)
    ]
    write_bundle(manifest(tmp_path / "b"), {"segmentor.onnx": b"x"}, many)
    for found, wanted in zip(read_bundle(tmp_path / "b").golden(), many, strict=True):
        assert np.array_equal(found.image, wanted.image)
        assert np.array_equal(found.labels, wanted.labels)


def test_other_users_can_read_it(folder: Path) -> None:
    mask = os.umask(0)
    os.umask(mask)
    assert folder.stat().st_mode & 0o777 == 0o777 & ~mask


def test_reading_needs_no_torch() -> None:
    code = (
        "import sys, export.bundle; sys.exit(bool({'torch', 'onnx', 'adapt'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_changed_byte_is_named_with_both_hashes(folder: Path) -> None:
    (folder / "segmentor.onnx").write_bytes(b"grapi")
    found, wanted = (hashlib.sha256(b).hexdigest() for b in (b"grapi", b"graph"))
    with pytest.raises(UserError, match=rf"'segmentor.onnx' is not .*{found}, wanted {wanted}"):
        read_bundle(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "golden/1.labels.png").unlink()
    with pytest.raises(UserError, match=r"lacks its file 'golden/1.labels.png'"):
        read_bundle(folder)


def test_what_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere does not exist: wanted a bundle"):
        read_bundle(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"is not a bundle \(no bundle.json\): make one"):
        read_bundle(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(UserError, match=r"is a run, not a bundle .*roadshift export RUN"):
        read_bundle(tmp_path)
    with pytest.raises(UserError, match=r"run.json is a file: wanted a bundle"):
        read_bundle(tmp_path / "run.json")


@pytest.mark.parametrize("text", ["", '{"format": 1, "na', "\x00\x01", "[" * 100_000])
def test_a_cut_short_manifest(folder: Path, text: str) -> None:
    (folder / "bundle.json").write_text(text)
    with pytest.raises(UserError, match=r"bundle.json is damaged \(.*export or copy"):
        read_bundle(folder)


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": "1"}'])
def test_another_kind_of_json(folder: Path, text: str) -> None:
    (folder / "bundle.json").write_text(text)
    with pytest.raises(UserError, match="is not a bundle's manifest"):
        read_bundle(folder)


def test_another_format(folder: Path) -> None:
    rewrite(folder, format=2)
    assert read_bundle(folder).limits("fp32") == {"min_agreement": 0.999}
    rewrite(folder, format=4)
    with pytest.raises(UserError, match=r"has format 4 .* reads 2 to 3: install a newer one"):
        read_bundle(folder)
    rewrite(folder, format=1)
    with pytest.raises(UserError, match=r"has format 1 .* export the run again"):
        read_bundle(folder)


def test_what_is_put_right_has_another_digest(folder: Path) -> None:
    digest = read_bundle(folder).digest
    assert digest == write(folder).digest
    assert read_bundle(folder, Trust(digest=digest.upper())).digest == digest
    rewrite(folder, classes=["sky", "road"])
    assert read_bundle(folder).classes == ("sky", "road")
    with pytest.raises(UserError, match=rf"has the digest \w+, wanted {digest}: it is another"):
        read_bundle(folder, Trust(digest=digest))


def test_a_changed_manifest(folder: Path) -> None:
    path = folder / "bundle.json"
    path.write_text(path.read_text().replace("sky", "sea"))
    with pytest.raises(UserError, match="was changed after it was written"):
        read_bundle(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "a/b"),
        ("name", "../b"),
        ("classes", []),
        ("classes", ["road", "road"]),
        ("classes", ["road", 1]),
        ("palette", [[0, 0, 256], [0, 0, 0]]),
        ("palette", [[0, 0], [0, 0]]),
        ("size", [0, 5]),
        ("size", "64x64"),
        ("min_size", None),
        ("min_size", [True, True]),
        ("precisions", "fp32"),
        ("precisions", []),
        ("precisions", ["int8"]),
        ("precisions", ["fp32", "int4"]),
        ("precisions", ["fp32", "int8", "fp16"]),
        ("align_corners", 1),
        ("route", "fast"),
        ("opset", "18"),
        ("provenance", []),
        ("scores", None),
        ("checks", {}),
        ("checks", {"precisions": {"fp32": {"min_agreement": 2}}}),
        ("checks", {"precisions": {"fp32": {"min_agreement": 1, "classes": {"sky": 0.9}}}}),
        ("checks", {"precisions": {"fp32": {"min_agreement": 1, "max_logit_error": "none"}}}),
        (
            "checks",
            {
                "precisions": {
                    "fp32": {
                        "min_agreement": 1,
                        "classes": {
                            "sky": {"pixels": 9, "min_agreement": 1, "max_confidence_error": -1}
                        },
                    }
                }
            },
        ),
        ("checks", {"precisions": {"fp32": 0.9}}),
        ("checks", {"precisions": {"fp32": {"min_agreement": 1, "max_logit_error": 10**400}}}),
        ("checks", {"precisions": {"fp32": {"min_agreement": 1, "sizes": 5}}}),
        ("checks", {"precisions": {"fp32": {"min_agreement": 1, "sizes": [{}]}}}),
        ("checks", {"precisions": {"fp32": {"min_agreement": 1, "sizes": [{"size": ["a", 1]}]}}}),
        ("checks", {"precisions": {"fp32": {"min_agreement": 1}}, "no_evidence": 5}),
        ("checks", {"precisions": {"fp32": {"min_agreement": 0.99, "classes": {}}}}),
        *(
            ("checks", {"precisions": {"fp32": {"min_agreement": 1, "classes": {}} | loose}})
            for loose in (
                {"max_confidence_error": 0.6},
                {"max_logit_error": 0.02},
                {"max_logit_cell_error": 0.2},
                {"classes": {"sky": {"pixels": 9, "min_agreement": 0.9}}},
            )
        ),
        ("provenance", {"work_size": [256]}),
        ("provenance", {"work_size": "abc"}),
        ("provenance", {"work_size": [-1, 10**9]}),
        ("checks", {"precisions": {"fp32": {}}}),
        ("checks", {"precisions": {"fp32": {"min_agreement": 1}}, "self_check": None}),
        ("checks", {"precisions": {"fp32": {"min_agreement": 1}}, "self_check": {"mean": 1}}),
        ("files", {"segmentor.onnx": 1}),
    ],
)
def test_a_wrong_value_is_named(folder: Path, key: str, value: object) -> None:
    rewrite(folder, **{key: value})
    with pytest.raises(UserError, match=f"has a wrong '{key}'"):
        read_bundle(folder)


def test_a_key_too_many_or_too_few(folder: Path) -> None:
    rewrite(folder, colour="red")
    with pytest.raises(UserError, match="lacks or does not know: colour"):
        read_bundle(folder)


def test_as_many_colours_as_classes(folder: Path) -> None:
    rewrite(folder, palette=[[0, 0, 0]])
    with pytest.raises(UserError, match="another number of colours than of classes"):
        read_bundle(folder)


@pytest.mark.parametrize(
    "name",
    ["../secret", "/etc/passwd", "a/../../b", "a\\b", "c:x", "./a", "a//b", "bundle.json", "a\nb"],
)
def test_a_name_outside_the_folder(folder: Path, name: str) -> None:
    files = json.loads((folder / "bundle.json").read_text())["files"]
    rewrite(folder, files={**files, name: "0" * 64})
    with pytest.raises(UserError, match="names a file outside the bundle"):
        read_bundle(folder)


@pytest.mark.parametrize("name", ["segmentor.onnx", "golden/2.labels.png"])
def test_what_every_bundle_holds(folder: Path, name: str) -> None:
    files = json.loads((folder / "bundle.json").read_text())["files"]
    del files[name]
    rewrite(folder, files=files)
    with pytest.raises(UserError, match=f"lists no {name}"):
        read_bundle(folder)


REBUILT = [np.full((4, 6, 3), 50 + i, np.uint8) for i in range(3)]
FP32 = {"precisions": {"fp32": {"min_agreement": 0.999}}}


def write_drawn(folder: Path, graph="reconstructor", how="rebuilt", drawn=REBUILT) -> Bundle:
    bundle = manifest(folder, checks=FP32 | {graph: {"min_psnr": 40.0}})
    contents = {"segmentor.onnx": b"graph", f"{graph}.onnx": b"drawing"}
    return write_bundle(bundle, contents, GOLDEN, {how: drawn})


def test_what_a_reconstructor_drew_is_read(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UserError, match=r"has no 'reconstructor.onnx'"):
        read_bundle(folder).golden_drawn(RECONSTRUCTOR)
    bundle = write_drawn(tmp_path / "b")
    assert read_bundle(tmp_path / "b") == bundle
    found = bundle.golden_drawn(RECONSTRUCTOR)
    for one, golden, image in zip(found, GOLDEN, REBUILT, strict=True):
        assert np.array_equal(one.given, golden.labels)
        assert np.array_equal(one.image, image)


def test_what_a_translator_drew_is_read(tmp_path: Path) -> None:
    bundle = write_drawn(tmp_path / "b", "translator", "translated")
    for one, golden, image in zip(bundle.golden_drawn(TRANSLATOR), GOLDEN, REBUILT, strict=True):
        assert np.array_equal(one.given, golden.image)
        assert np.array_equal(one.image, image)


@pytest.mark.parametrize("name", ["0.png", "0.labels.png", "0.confidence.png", "0.logits.npy"])
@pytest.mark.parametrize("content", [b"", b"nothing", b"\x93NUMPY\x01\x00v\x00{'descr': '<f4',"])
def test_a_golden_file_that_is_none(tmp_path: Path, name: str, content: bytes) -> None:
    bundle = write_golden(tmp_path / "b", full(GOLDEN[0]))
    bundle.golden()
    (bundle.folder / "golden" / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"golden/{name} is damaged .*: export or copy the bundle"):
        bundle.golden()


def test_logits_that_are_no_floats(tmp_path: Path) -> None:
    bundle = write_golden(tmp_path / "b", full(GOLDEN[0]))
    path = bundle.folder / "golden/0.logits.npy"
    for wrong in (np.zeros((2, 1, 1), np.int64), np.array(["road"])):
        np.save(path, wrong)
        with pytest.raises(UserError, match=r"logits.npy is damaged .it holds no array of floats"):
            bundle.golden()
    with path.open("wb") as file:
        np.savez(file, logits=np.zeros((2, 1, 1)))
    with pytest.raises(UserError, match=r"0.logits.npy is damaged"):
        bundle.golden()


def test_an_array_of_terabytes_takes_none(tmp_path: Path) -> None:
    bundle = write_golden(tmp_path / "b", full(GOLDEN[0]))
    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000, 1000, 1000000), }"
    head = head.ljust(117) + b"\n"
    content = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + bytes(64)
    (bundle.folder / "golden/0.logits.npy").write_bytes(content)
    with pytest.raises(UserError, match=r"0.logits.npy is damaged"):
        bundle.golden()


def test_labels_of_another_size_than_the_frame(tmp_path: Path) -> None:
    wrong = full(GOLDEN[0])._replace(confidence=np.zeros((3, 3), np.uint8))
    with pytest.raises(UserError, match=r"confidence of 'golden/0.png' are of another size"):
        write_golden(tmp_path / "b", wrong).golden()


def full(golden: Golden) -> Golden:
    """With all that is known of a frame."""
    return golden._replace(confidence=golden.labels, logits=np.zeros((2, 1, 1), np.float32))


def test_what_has_a_limit_has_files_to_hold_it_to(tmp_path: Path) -> None:
    bundle = write(tmp_path / "b")
    limits = {"min_agreement": 1, "max_confidence_error": 0.5}
    rewrite(bundle.folder, checks={"precisions": {"fp32": limits}})
    with pytest.raises(UserError, match=r"lists no golden/0.confidence.png"):
        read_bundle(bundle.folder)


@pytest.mark.parametrize(
    ("graph", "how"), [("reconstructor", "rebuilt"), ("translator", "translated")]
)
def test_what_every_bundle_with_a_graph_that_draws_holds(tmp_path: Path, graph, how) -> None:
    write_drawn(tmp_path / "b", graph, how)
    files = json.loads((tmp_path / "b/bundle.json").read_text())["files"]
    del files[f"golden/2.{how}.png"]
    rewrite(tmp_path / "b", files=files)
    with pytest.raises(UserError, match=rf"lists no golden/2.{how}.png"):
        read_bundle(tmp_path / "b")
    rewrite(tmp_path / "b", checks=FP32)
    with pytest.raises(UserError, match=f"checks a {graph}, or lists one, but not both"):
        read_bundle(tmp_path / "b")
    for wrong in ({}, {"min_psnr": "high"}, None):
        rewrite(tmp_path / "b", checks=FP32 | {graph: wrong})
        with pytest.raises(UserError, match="has a wrong 'checks'"):
            read_bundle(tmp_path / "b")


def test_lower_precisions_lie_beside_the_first(tmp_path: Path, folder: Path) -> None:
    int8 = {"int8": {"min_agreement": 0.9}}
    bundle = manifest(
        tmp_path / "b",
        precisions=("fp32", "int8"),
        checks={"precisions": FP32["precisions"] | int8},
    )
    with pytest.raises(UserError, match=r"lists no segmentor.int8.onnx"):
        write_bundle(bundle, {"segmentor.onnx": b"graph"}, GOLDEN)
    contents = {"segmentor.onnx": b"graph", "segmentor.int8.onnx": b"small"}
    read = read_bundle(write_bundle(bundle, contents, GOLDEN).folder)
    assert read.segmentor("fp32") == "segmentor.onnx"
    assert read.path(read.segmentor("int8")).read_bytes() == b"small"
    assert (read.min_agreement("fp32"), read.min_agreement("int8")) == (0.999, 0.9)
    with pytest.raises(UserError, match=r"precisions fp32, int8, no fp16: .* --precision fp16"):
        read.segmentor("fp16")
    with pytest.raises(UserError, match="unknown precision 'int4'"):
        read.segmentor("int4")
    rewrite(folder, checks={"precisions": FP32["precisions"] | int8})
    with pytest.raises(UserError, match="lists other precisions than were checked"):
        read_bundle(folder)


def test_asking_for_a_file_that_it_has_not(folder: Path) -> None:
    with pytest.raises(UserError, match=r"has no 'segmentor.int8.onnx'; it has segmentor.onnx"):
        read_bundle(folder).path("segmentor.int8.onnx")


def test_what_would_not_be_read_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="wrong 'name'"):
        write(tmp_path / "b", name="a b")
    with pytest.raises(UserError, match=r"lists no golden/0.labels.png, golden/0.png"):
        write_bundle(manifest(tmp_path / "b"), {"segmentor.onnx": b""}, [])
    assert not list(tmp_path.iterdir())


def test_a_bundle_is_replaced_whole(folder: Path) -> None:
    write_bundle(manifest(folder), {"segmentor.onnx": b"new"}, GOLDEN[:1])
    assert read_bundle(folder).path("segmentor.onnx").read_bytes() == b"new"
    assert not (folder / "golden/2.png").exists()
    assert [p.name for p in folder.parent.iterdir()] == ["bundle"]


def test_an_empty_folder_and_a_link_are_filled(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert read_bundle(tmp_path / "real").name == "street"


@pytest.mark.parametrize("call", range(1, 13))
def test_a_full_disk_leaves_the_previous_bundle(folder: Path, monkeypatch, call: int) -> None:
    before = read_bundle(folder)
    calls, fsync = iter(range(1, 100)), os.fsync

    def full(handle: int) -> None:
        if next(calls) == call:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Failure, match=r"No space left on device; nothing .* make room"):
        write(folder, b"new")
    monkeypatch.undo()
    assert read_bundle(folder) == before
    assert [p.name for p in folder.parent.iterdir()] == ["bundle"]


def test_a_failed_rename_leaves_the_previous_bundle(folder: Path, monkeypatch) -> None:
    before, rename = read_bundle(folder), Path.rename

    def refuse(path: Path, to: Path) -> Path:
        if path.name == "new":
            raise OSError(errno.EIO, "Input/output error")
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(Failure, match="Input/output error"):
        write(folder, b"new")
    assert read_bundle(folder) == before
    assert [p.name for p in folder.parent.iterdir()] == ["bundle"]


def test_the_previous_bundle_is_kept_even_when_it_cannot_be_moved_back(
    folder: Path, monkeypatch
) -> None:
    before, rename = read_bundle(folder), Path.rename

    def refuse(path: Path, to: Path) -> Path:
        if path != folder:
            raise OSError(errno.EIO, "Input/output error")
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(Failure, match="Input/output error"):
        write(folder, b"new")
    (old,) = folder.parent.glob(".bundle.*/old")
    assert replace(read_bundle(old), folder=folder) == before


def test_other_peoples_files_are_not_replaced(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"not a bundle's, 'notes.txt' for one, and would lose"):
        write(folder)
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_damaged_bundle_is_not_replaced(folder: Path) -> None:
    (folder / "bundle.json").write_text("{")
    with pytest.raises(UserError, match=r"not a bundle's, 'bundle.json' for one"):
        check_destination(folder)


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="is a file, and a bundle is a folder"):
        check_destination(tmp_path / "file")
    with pytest.raises(UserError, match=r"cannot make the folder .*: .*file is a file"):
        check_destination(tmp_path / "file/bundle")
