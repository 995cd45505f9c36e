"""A cache changes where pixels come from, never what is drawn."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from adapt.data.datasets import labelled, unlabelled
from adapt.data.drawing.batches import Batch, batches
from adapt.data.drawing.cache import InMemory
from adapt.data.drawing.draws import make_draws
from adapt.data.reading.decode import decode_image
from adapt.fit import _next
from adapt.run import Run
from roadshift import Failure


def city(tmp_path: Path, spec: str) -> str:
    """A copy whose files the test may take away."""
    folder = tmp_path / "city"
    shutil.copytree(spec.removeprefix("folder:"), folder)
    return f"folder:{folder}"


def drawn(source: str, cache: str, **more: object) -> list[Batch]:
    settings = {"crop": "24x48", "scale": (1.0, 2.0), "workers": 0, "steps": 6, "batch": 4} | more
    run = Run(source=source, target=source, out=Path(), cache=cache, **settings)  # pyright: ignore[reportArgumentType]
    draws = make_draws(run, labelled(source), unlabelled(source))
    return list(batches(draws, run, start=0, rank=0))


def equal(these: list[Batch], those: list[Batch]) -> bool:
    pairs = zip(these, those, strict=True)
    return all(torch.equal(x, y) for a, b in pairs for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("more", [{}, {"size": "40x80", "source_size": "40x80"}])
@pytest.mark.parametrize("where", ["memory", "folder"])
def test_the_same_is_drawn_and_no_file_is_read_again(
    where: str, more: dict[str, object], tiny_source: str, tmp_path: Path
) -> None:
    source = city(tmp_path, tiny_source)
    cache = where if where == "memory" else str(tmp_path / "cache")
    plain = drawn(source, "", **more)
    assert equal(drawn(source, cache, **more), plain)
    if where == "folder":
        assert len(list((tmp_path / "cache").rglob("*.npy"))) > 8
        for kept in (tmp_path / "cache").rglob("*.npy"):
            np.save(kept, np.zeros_like(np.load(kept)))
        assert all(batch.x_s.max() == 0 for batch in drawn(source, cache, **more))


def test_memory_reads_every_image_once() -> None:
    asked: list[int] = []

    def read(i: int) -> np.ndarray:
        asked.append(i)
        return np.full((2, 2, 3), i, np.uint8)

    kept = InMemory(read)
    assert [int(kept(i)[0, 0, 0]) for i in (3, 1, 3, 1)] == [3, 1, 3, 1]
    assert asked == [3, 1]


def test_at_one_size_it_is_that_size_which_is_kept(tiny_source: str, tmp_path: Path) -> None:
    more: dict[str, object] = {
        "scale": (1.0, 1.0),
        "size": "20x40",
        "source_size": "20x40",
        "crop": "20x40",
    }
    kept = drawn(tiny_source, str(tmp_path), **more)
    plain = drawn(tiny_source, "", **more)
    shapes = {np.load(path).shape for path in tmp_path.rglob("*.npy")}
    assert shapes == {(20, 40, 3), (20, 40)}
    assert equal(kept, plain)


def test_other_sizes_and_classes_are_kept_apart(tiny_source: str, tmp_path: Path) -> None:
    more: dict[str, object] = {"scale": (1.0, 1.0), "crop": "16x32"}
    for size in ("20x40", "24x48"):
        drawn(tiny_source, str(tmp_path), size=size, source_size=size, **more)
    sizes = {np.load(path).shape[:2] for path in tmp_path.rglob("*.npy")}
    assert sizes == {(20, 40), (24, 48)}


def test_a_damaged_file_is_named_with_what_to_do(tiny_source: str, tmp_path: Path) -> None:
    drawn(tiny_source, str(tmp_path))
    for path in tmp_path.rglob("*.npy"):
        path.write_bytes(path.read_bytes()[:70])
    with pytest.raises(Failure, match=r"the cache .*\.npy cannot be used .*delete its folder"):
        drawn(tiny_source, str(tmp_path))


def test_from_a_loader_process_it_is_the_sentence_alone(tiny_source: str, tmp_path: Path) -> None:
    drawn(tiny_source, str(tmp_path))
    for path in tmp_path.rglob("*.npy"):
        path.write_bytes(path.read_bytes()[:70])
    run = Run(source=tiny_source, target="", out=Path(), cache=str(tmp_path), workers=1, steps=1)
    draws = make_draws(run, labelled(tiny_source), None)
    with pytest.raises(Failure, match=r"^the cache .*\.npy cannot be used [^\n]*$"):
        _next(batches(draws, run, start=0, rank=0))


def test_a_jpeg_is_decoded_no_larger_than_it_is_shown(tmp_path: Path) -> None:
    rows, columns = np.mgrid[0:181, 0:301]
    image = np.stack([rows, columns % 256, (rows + columns) // 2], -1).astype(np.uint8)
    path = tmp_path / "a.jpg"
    cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert decode_image(path).shape == (181, 301, 3)
    assert decode_image(path, (91, 100)).shape == (181, 301, 3)
    half, quarter = decode_image(path, (90, 150)), decode_image(path, (40, 70))
    assert half.shape == (91, 151, 3)
    assert quarter.shape == (46, 76, 3)
    area = cv2.resize(decode_image(path)[:180, :300], (150, 90), interpolation=cv2.INTER_AREA)
    inside = (slice(0, 90), slice(0, 120))  # right of it, the ramp of the columns wraps
    assert np.abs(half[inside].astype(int) - area[inside]).max() <= 6
    png = tmp_path / "a.png"
    cv2.imwrite(str(png), image)
    assert decode_image(png, (10, 10)).shape == (181, 301, 3)
