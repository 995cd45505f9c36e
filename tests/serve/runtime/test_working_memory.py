"""What the runtime keeps, what it gives back, and how much it does at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest

from serve.limits import LEAST_PIXELS, Limits, pixel_limit
from serve.runtime import graph, working_memory
from serve.runtime.engine import Engine
from serve.runtime.working_memory import AT_ONCE, GIVE_BACK, WorkingMemory


class Recording:
    """onnxruntime, of which only the options of runs are used: whether each gives back."""

    def __init__(self) -> None:
        self.given_back: list[bool] = []

    def RunOptions(self):  # noqa: N802 - the runtime's name
        self.given_back.append(False)
        recording, options = self, onnxruntime.RunOptions()

        class Options:
            def add_run_config_entry(self, *entry):
                assert entry == GIVE_BACK
                options.add_run_config_entry(*entry)  # the runtime knows it
                recording.given_back[-1] = True

        return Options()


def test_memory_is_kept_while_usual_frames_of_one_shape_follow_each_other():
    ort = Recording()
    memory = WorkingMemory(ort, 0)
    usual, other = (1, 1024, 2048, 3), (1, 3, 512, 1024)
    for shape in (usual, usual, usual, other, other, usual):
        memory.options(shape)
    assert ort.given_back == [True, False, False, True, False, True]


def test_what_is_larger_than_usual():
    memory = WorkingMemory(onnxruntime, 0)
    assert memory.is_usual((1, 1024, 2048, 3)) and memory.is_usual((1, 1024, 2048))
    assert not memory.is_usual((1, 3, 1025, 2048)) and not memory.is_usual((1, 1025, 2048))
    assert WorkingMemory(onnxruntime, 4 * AT_ONCE).is_usual((1, 2048, 4096, 3))


def test_a_larger_frame_runs_without_an_arena(tiny, kit, monkeypatch):
    monkeypatch.setattr(working_memory, "AT_ONCE", 32 * 48)
    engine = Engine(tiny, threads=1)
    arenas = []
    made = engine.sessions.runtime.session
    monkeypatch.setattr(
        engine.sessions.runtime, "session", lambda *a, arena=True: arenas.append(arena) or made(*a)
    )
    for image in (kit.random_image(1), *(kit.random_image(seed, 33, 48) for seed in (2, 3))):
        assert (engine.segment(image[None]).labels[0] == kit.true_labels(image)).all()
    assert arenas == [False]  # made once, for both
    image = kit.random_image(4, 33, 48)[None]
    assert engine.segment(image, confidence=True).confidence.shape == (1, 33, 48)
    assert arenas == [False, True, False]


@pytest.fixture
def pairs(monkeypatch):
    """At most two frames of 32x48 at once; how many each run of the network had."""
    seen = []
    run = graph.Sessions.run

    def recorded(self, values, wanted):
        seen.append(len(values))
        return run(self, values, wanted)

    monkeypatch.setattr(graph, "AT_ONCE", 2 * 32 * 48 + 1)
    monkeypatch.setattr(graph.Sessions, "run", recorded)
    return seen


def test_a_batch_runs_in_parts(tiny, pairs, kit):
    engine = Engine(tiny, threads=1)
    images = np.stack([kit.random_image(k) for k in range(5)])
    answer = engine.segment(images, confidence=True)
    assert pairs == [2, 2, 1]
    assert np.array_equal(answer.labels, kit.true_labels(images))
    assert answer.confidence is not None and answer.confidence.shape == answer.labels.shape
    pairs.clear()
    engine.segment(images[:, :16])
    engine.segment(np.concatenate([images, images], 1))
    assert pairs == [4, 1, 1, 1, 1, 1, 1]


def test_a_batch_in_parts_is_the_same_on_the_exact_route(exact, pairs):
    images = np.stack([golden.image for golden in exact.golden()])
    engine = Engine(exact, threads=1)
    found = engine.run(images, ["logits", "labels", "confidence"])
    assert pairs == [1, 1]
    whole = engine.at_once(images, ["logits", "labels", "confidence"])
    assert all(np.array_equal(found[name], whole[name]) for name in whole)


def test_golden_frames_run_in_pairs_whatever_their_size(exact, pairs):
    """A graph that mixes up the frames of a batch must not pass where batches run in parts."""
    Engine(exact, threads=1).check_golden()
    assert pairs == [2, 1]


def test_a_graph_of_a_fixed_batch_runs_whole(tmp_path, pairs, kit):
    model = onnx.load_from_string(kit.graph(None))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 3
    bundle = kit.make_bundle(tmp_path / "b", graph=model.SerializeToString())
    Engine(bundle, threads=1).segment(np.zeros((3, 32, 48, 3), np.uint8))
    assert pairs == [3]


def test_a_small_frame_counts_as_large_as_the_network_works(tiny):
    engine = Engine(replace(tiny, provenance={"work_size": [512, 1024]}), threads=1)
    assert engine.pixels((4, 16, 16, 3)) == 4 * 512 * 1024
    assert engine.pixels((2, 1024, 2048, 3)) == 2 * 1024 * 2048


def test_how_many_pixels_are_taken_follows_from_the_bundle(tiny):
    assert pixel_limit(tiny) == LEAST_PIXELS
    assert pixel_limit(replace(tiny, size=(1000, 2000))) == 4 * 1000 * 2000
    assert pixel_limit(replace(tiny, provenance={"work_size": [1024, 2048]})) == 4 * AT_ONCE
    assert pixel_limit(replace(tiny, provenance={"work_size": None})) == LEAST_PIXELS
    compared = {"precisions": {"fp32": {"sizes": [{"size": [1080, 1920]}, {"size": [8, 8]}]}}}
    assert pixel_limit(replace(tiny, checks=compared)) == 4 * 1080 * 1920
    assert Limits().of(tiny).pixels == LEAST_PIXELS
    assert Limits().of(tiny, replace(tiny, size=(2000, 2000))).pixels == 4 * 2000 * 2000
    assert Limits(pixels=7).of(tiny).pixels == 7
