"""The settings of a run: every field belongs to one group."""

from dataclasses import fields
from pathlib import Path

from adapt.run import DATA_FIELDS, LEARNING_FIELDS, MACHINE_FIELDS, Run, uncoloured


def test_every_setting_is_of_one_group() -> None:
    names = [f.name for f in fields(Run)]
    groups = [*DATA_FIELDS, *LEARNING_FIELDS, *MACHINE_FIELDS]
    assert sorted(groups) == sorted(names)


def test_uncoloured_draws_leave_the_geometry() -> None:
    run = Run(
        source="",
        target="",
        out=Path(),
        scale=(0.5, 2.0),
        blur=0.5,
        style="fourier",
        sample_rare=True,
    )
    plain = uncoloured(run)
    assert plain.colour_jitter == plain.blur == 0
    assert not plain.style
    assert not plain.sample_rare
    assert all(getattr(plain, n) == getattr(run, n) for n in DATA_FIELDS - {"style", "sample_rare"})
