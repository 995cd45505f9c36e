"""Retrieval, unseen cities and embeddings: the numbers by hand, and the commands."""

import json
import sys
import types
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tiny_city import write_tiny_city

import roadshift
from adapt import checkpoint
from adapt.data.datasets import labelled
from adapt.evaluation.features import of_pixels, pooled
from adapt.evaluation.retrieval import retrieved, split

PLAIN = "--weights none --batch 2 --steps 1 --workers 0 --threads 1 --size 32x64".split()


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        roadshift.main(list(arguments))
    return int(end.value.code or 0)


@pytest.fixture(scope="module")
def runs(tiny_source: str, tiny_target: str, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Of all classes, and of three of them."""
    folder = tmp_path_factory.mktemp("studies")
    cities = ["--source", tiny_source, "--target", tiny_target]
    found = [str(folder / "all"), str(folder / "three")]
    for out, classes in zip(found, ("", "road,sky,car"), strict=True):
        more = ["--out", out, "--classes", classes]
        assert command("adapt", "source_only", *cities, *more, *PLAIN) == 0
    return found


def test_what_is_nearest_is_counted_and_ranked() -> None:
    """Two queries; four in the pool, of which the first and the third are wanted."""
    pool = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 2.0], [0.1, 1.0]])
    queries = torch.tensor([[5.0, 0.0], [0.0, 0.5]])
    found = retrieved(queries, pool, torch.tensor([True, False, True, False]))
    # By cosine: 0, 1, 3, 2 and 2, 3, 1, 0. Wanted are the first and the last of each.
    assert found.found == [1.0, 1.0, 1.0, 2.0]
    assert found.mean_average_precision == pytest.approx((1 + 2 / 4) / 2)
    other = retrieved(queries, pool, torch.tensor([False, True, False, True]))
    assert other.found == [0.0, 1.0, 2.0, 2.0]
    assert other.mean_average_precision == pytest.approx((1 / 2 + 2 / 3) / 2)


@pytest.mark.parametrize(("images", "count", "sizes"), [(8, 2, (2, 2)), (5, 100, (3, 2))])
def test_who_asks_is_not_in_the_pool(images: int, count: int, sizes: tuple[int, int]) -> None:
    parts = split(images, count)
    assert (len(parts.pool), len(parts.queries)) == sizes
    assert not set(parts.pool) & set(parts.queries)


def test_features_are_the_backbones(runs: list[str], tiny_source: str) -> None:
    saved, source = checkpoint.read(Path(runs[0])), labelled(tiny_source)
    x = torch.from_numpy(source.image(3)).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        z = saved.segmentor(x).features
    found = pooled(saved.segmentor, source.images, [3], None)
    assert torch.allclose(found[0], z[0].mean((1, 2)), atol=1e-6)
    pixels = of_pixels(saved.segmentor, source, [3], None)
    # At stride 32 a 32 x 64 image has two positions: at columns 16 and 48 of row 16.
    assert torch.allclose(pixels.features, z[0].flatten(1).T, atol=1e-6)
    assert pixels.labels.tolist() == [source.label(3)[16, 16], source.label(3)[16, 48]]


def test_retrieval_has_runs_side_by_side(
    runs: list[str],
    tiny_source: str,
    tiny_target: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    asked = ["study", "retrieval", *runs, "--source", tiny_source, "--target", tiny_target]
    asked += ["--out", str(tmp_path), "--count", "3"]
    assert command(*asked, "--k", "2") == 0
    found = json.loads((tmp_path / "retrieval.json").read_text())
    assert set(found) == {"all", "three"}
    for of in found.values():
        assert (of["pool"], of["queries"], len(of["A"])) == (6, 6, 6)
        assert of["A"][-1] == of["B"][-1] == 3  # all of the pool is retrieved: the other's half
    picture = cv2.imread(str(tmp_path / "retrieval.png"))
    assert picture is not None
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 4
    assert command(*asked, "--k", "7") == 2
    assert "the pool holds 6 images; wanted 1 to 6" in capfd.readouterr().err


def test_an_unseen_city_is_scored_over_the_classes_in_common(
    runs: list[str], tiny_source: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    third = write_tiny_city(tmp_path / "third", 3, 0.8)
    classes = json.loads((third / "classes.json").read_text())
    classes["classes"] = [c for c in classes["classes"] if c["name"] != "sky"]
    (third / "classes.json").write_text(json.dumps(classes))
    asked = ["study", "unseen", *runs, "--json", str(tmp_path / "unseen.json")]
    assert command(*asked, "--data", f"folder:{third}") == 0
    found = json.loads((tmp_path / "unseen.json").read_text())
    for of in found["runs"].values():
        assert list(of["iou"]) == ["road", "car"]  # three has no building, the labels no sky
        assert of["miou"] == pytest.approx(np.nanmean(list(of["iou"].values())))
    assert command(*asked, "--data", tiny_source) == 2
    assert "is no unseen city to it" in capfd.readouterr().err


def test_an_embedding_needs_what_it_says(
    runs: list[str],
    tiny_source: str,
    tiny_target: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "embedding.png"
    asked = ["study", "embedding", *runs, "--source", tiny_source, "--target", tiny_target]
    asked += ["--out", str(out), "--count", "3"]
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    assert command(*asked) == 2
    assert "pip install 'roadshift[study]'" in capfd.readouterr().err
    seen: list[np.ndarray] = []

    class First:
        """Two of the features in place of an embedding."""

        def __init__(self, perplexity: float, init: str, random_state: int) -> None:
            assert 0 < perplexity < 6
            assert (init, random_state) == ("pca", 0)

        def fit_transform(self, x: np.ndarray) -> np.ndarray:
            seen.append(x)
            return x[:, :2]

    module = types.ModuleType("sklearn.manifold")
    module.TSNE = First  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sklearn", types.ModuleType("sklearn"))
    monkeypatch.setitem(sys.modules, "sklearn.manifold", module)
    assert command(*asked) == 0
    assert len(seen) == 4  # of both runs: images, positions
    assert len(seen[0]) == 6
    assert np.allclose(np.linalg.norm(seen[0], axis=1), 1, atol=1e-4)
    picture = cv2.imread(str(out))
    assert picture is not None
    assert picture.shape[0] > 2 * 420
    colours = {tuple(c) for c in np.unique(picture.reshape(-1, 3), axis=0).tolist()}
    assert {(178, 114, 0), (0, 94, 213)} <= colours  # both cities', as OpenCV has them
