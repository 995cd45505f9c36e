"""A bundle's card."""

import re
from dataclasses import replace

import pytest

from demo.bundle_facts import bundle_facts
from demo.page.app import about


def test_the_card_tells_origin_scores_checks_and_hashes(bundle) -> None:
    card = bundle_facts(bundle)
    for part in ("8x8", "strongest_colour", "drawn:&lt;game&gt;", "61.25", "93.5 %", "99.90 %"):
        assert part in card
    assert f"{bundle.files['segmentor.onnx'][:16]}…" in card
    assert "<game>" not in card
    assert [re.sub("<.*?>", "", h) for h in re.findall("<h2>.*?</h2>", card)] == [
        "What it is", "Scores on drawn:camera val", "Verification", "How it runs",
    ]  # fmt: skip


def test_no_path_of_the_machine_that_made_it_is_shown(bundle) -> None:
    made = {"method": "x", "source": "gta5:/home/ann/gta5", "target": "folder:/work/city#train"}
    scores = {"cityscapes:/work/secret/cs#val": {"miou": 1.0, "iou": {}, "run": "/home/ann/runs/1"}}
    card = bundle_facts(replace(bundle, provenance=made, scores=scores))
    assert not re.search(r"/home|/work|secret", card)
    assert all(name in card for name in ("gta5", "city", "Scores on cs val"))


def test_a_student_names_its_teacher_and_no_labelled_pictures(bundle) -> None:
    made = {"source": "toytown:game", "target": "toytown:camera", "teacher": ""}
    taught = made | {"method": "distillation", "teacher": "adapted"}
    own, student = (
        bundle_facts(replace(bundle, provenance=one)) for one in (made | {"method": "ldr"}, taught)
    )
    assert "teacher" not in own
    assert "toytown:game" in own
    assert '<th scope="row">teacher</th><td>adapted</td>' in student
    assert "toytown:game" not in student


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("distillation", "It learnt what another network says of pictures of toytown:camera."),
        ("source_only", "It learnt from labelled pictures of toytown:game."),
        ("ldr", "labelled pictures of toytown:game and unlabelled ones of toytown:camera."),
    ],
)
def test_the_page_says_what_it_learnt_from(bundle, method, said) -> None:
    made = {"method": method, "source": "toytown:game", "target": "toytown:camera"}
    assert about(replace(bundle, provenance=made)).endswith(said)
    unknown = made | {"source": "", "target": ""}
    assert "learnt" not in about(replace(bundle, provenance=unknown))


def test_a_class_that_was_not_there_has_no_bar(bundle) -> None:
    scores = {"a:b": {"miou": 50.0, "images": 7, "iou": {"sky": None, "building": 50.0}}}
    card = bundle_facts(replace(bundle, scores=scores))
    assert card.count("rs-bar") == card.count('class="rs-bar"') + 1 == 2
    assert "not there" in card
    assert "on 7 pictures" in card


def test_latency_is_shown_by_stage(bundle) -> None:
    stages = {"network": {"p50": 8.36}, "total": {"p50": 10.74}}
    timed = {"precision": "fp32", "latency": {"size": [128, 256], "stages": stages}}
    device = {"runtime": "ORT", "provider": "cpu", "machine": "a <car>", "precisions": [timed]}
    card = bundle_facts(replace(bundle, checks={**bundle.checks, "device": device}))
    assert "Latency by stage" in card
    assert "a picture of 128x256: ORT on cpu, a &lt;car&gt;." in card
    assert ">8.4</td>" in card
    assert ">10.7</td>" in card
