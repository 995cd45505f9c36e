"""What a bundle says of itself."""

from demo.bundle_facts import bundle_facts, sections


def test_facts_tell_sizes_scores_provenance_and_hashes(bundle) -> None:
    facts = bundle_facts(bundle)
    for part in ("tiny-city", "8x8", "strongest_colour", "drawn:&lt;game&gt;", "61.25", "0.999"):
        assert part in facts
    assert bundle.files["segmentor.onnx"][:16] + "…" in facts
    assert "<game>" not in facts


def test_dictionaries_get_their_own_headings() -> None:
    plain, nested, deeper = sections(
        "Scores", {"a_b": 1, "set": {"miou": 2.5, "iou": {"sky": None}}}
    )
    assert "<h3>Scores</h3>" in plain
    assert "<td>a b</td><td>1</td>" in plain
    assert "<h3>Scores: set</h3>" in nested
    assert "<td>miou</td><td>2.5</td>" in nested
    assert "<h3>Scores: set: iou</h3>" in deeper
    assert "<td>sky</td><td>–</td>" in deeper


def test_a_list_of_dictionaries_is_one_table() -> None:
    (table,) = sections("Checks", {"sizes": [{"size": [1, 2], "ok": True}, {"size": [3, 4]}]})
    assert "<th>size</th><th>ok</th>" in table
    assert "<td>1, 2</td><td>yes</td>" in table
    assert "<td>3, 4</td><td>–</td>" in table


def test_long_hashes_and_numbers_are_cut() -> None:
    (table,) = sections("x", {"commit": "a" * 40 + "+", "mean": [0.4850000143, 1]})
    assert "<td>aaaaaaaaaaaaaaaa…+</td>" in table
    assert "<td>0.485, 1</td>" in table


def test_nothing_to_tell_makes_no_section() -> None:
    assert sections("Scores", {}) == []
